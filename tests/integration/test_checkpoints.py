"""Checkpoints: what is saved before anything is put at risk, on real worktrees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.errors import Conflict, Unavailable
from envmgr.protocols.store import Snapshot, SnapshotKind
from envmgr.runtime import removal, saving
from envmgr.runtime.checkpoints import KEPT, checkpoint
from envmgr.runtime.incarnation import Incarnation
from tests.support.git import files_in, git, make_repository, script, wrap, write
from tests.support.requirements import proves
from tests.support.worktrees import with_worktree, work_on

pytestmark = pytest.mark.anyio


async def checkpoints(inc: Incarnation) -> list[Snapshot]:
    return [
        s
        for s in await inc.systems.store.read(lambda tx: tx.snapshots())
        if s.kind is SnapshotKind.CHECKPOINT
    ]


def refs(inc: Incarnation) -> list[str]:
    return git(inc.repo.root, "for-each-ref", "--format=%(refname)", "refs/envmgr/").splitlines()


def everything(inc: Incarnation) -> tuple[object, ...]:
    """HEAD, branch and worktree, and the index with its times: nothing has even rewritten it."""
    admin = inc.repo.common_dir / "worktrees" / "otter"
    stat = (admin / "index").stat()
    return (
        files_in(admin),
        files_in(inc.path),
        stat.st_mtime_ns,
        stat.st_ino,
        git(inc.path, "log", "--format=%H"),
    )


@proves("CHECKPOINT-001", "R-1")
async def test_a_checkpoint_holds_all_work_and_touches_neither_head_nor_index_nor_hooks(
    tmp_path: Path,
) -> None:
    async with with_worktree(tmp_path) as inc:
        for hook in ("pre-commit", "post-commit", "reference-transaction", "post-index-change"):
            script(inc.repo.common_dir / "hooks" / hook, f"touch {tmp_path}/hook-ran; exit 1")
        work_on(inc.path)
        before = everything(inc)

        taken = await checkpoint(inc, "a respawn")

        assert everything(inc) == before
        assert not (tmp_path / "hook-ran").exists()
        assert (taken.kind, taken.reason, taken.label) == (SnapshotKind.CHECKPOINT, "a respawn", "")
        names = git(inc.repo.root, "ls-tree", "-r", "--name-only", taken.ref).splitlines()
        assert names == [".gitignore", "a", "b", "new/file"]
        assert git(inc.repo.root, "show", f"{taken.ref}:a") == "changed"


@proves("CHECKPOINT-002")
async def test_while_nothing_changes_the_last_checkpoint_stands_for_the_next_moment_too(
    tmp_path: Path,
) -> None:
    async with with_worktree(tmp_path) as inc:
        work_on(inc.path)
        first = await checkpoint(inc, "a respawn")

        second = await checkpoint(inc, "a reallocation")

        assert (second.id, second.ref) == (first.id, first.ref)
        assert second.at > first.at
        (kept,) = await checkpoints(inc)
        assert (kept.reason, refs(inc)) == ("a reallocation", [first.ref])
        git(inc.path, "add", "a")  # the files are the same; what is staged is not
        assert (await checkpoint(inc, "a respawn")).id != first.id


@proves("CHECKPOINT-002")
async def test_the_newest_checkpoints_are_kept_and_what_a_person_saved_is_not_counted(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        mine = await saving.save(inc, kind=SnapshotKind.MANUAL, label="mine", only=())
        taken = []
        for turn in range(KEPT + 2):
            write(inc.path, {"a": f"{turn}\n"})
            taken.append((await checkpoint(inc, "a respawn")).ref)

        assert [s.ref for s in await checkpoints(inc)] == taken[-KEPT:]
        assert sorted(refs(inc)) == sorted([mine.ref, *taken[-KEPT:]])


@proves("CHECKPOINT-003")
async def test_a_merge_under_way_and_a_lock_that_was_left_behind_hinder_nothing(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        git(inc.repo.root, "checkout", "--quiet", "-b", "other")
        write(inc.repo.root, {"a": "theirs\n"})
        git(inc.repo.root, "commit", "--quiet", "--all", "-m", "theirs")
        write(inc.path, {"a": "ours\n"})
        git(inc.path, "commit", "--quiet", "--all", "-m", "ours")
        git(inc.path, "merge", "--quiet", "other", check=False)
        write(inc.repo.common_dir / "worktrees" / "otter", {"index.lock": ""})

        taken = await checkpoint(inc, "a respawn")

        stages = git(inc.repo.root, "ls-tree", "-r", "--name-only", f"{taken.ref}^2").splitlines()
        assert {"1/a", "2/a", "3/a", "state/MERGE_HEAD"} <= set(stages)
        assert (await checkpoint(inc, "a respawn")).ref == taken.ref


@proves("CHECKPOINT-004")
async def test_a_file_that_goes_away_just_while_git_reads_it_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_worktree(tmp_path) as inc:
        work_on(inc.path)
        # The first `git add` meets a file that shrank: the kernel kills it, and its lock stays.
        once = f'case "$*" in *" add "*) [ -e {tmp_path}/met ] || {{ touch {tmp_path}/met "$GIT_INDEX_FILE.lock"; kill -BUS $$; }};; esac'
        wrap(tmp_path, monkeypatch, f'{once}\nexec $real "$@"')

        taken = await checkpoint(inc, "a respawn")

        assert (tmp_path / "met").exists()
        assert git(inc.repo.root, "show", f"{taken.ref}:new/file") == "untracked"


@proves("CHECKPOINT-004")
async def test_what_cannot_be_saved_fails_the_checkpoint_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        make_repository(inc.path / "inner")
        before = everything(inc)

        with pytest.raises(Conflict, match="inner is a repository of its own"):
            await checkpoint(inc, "a respawn")

        assert (everything(inc), refs(inc), await checkpoints(inc)) == (before, [], [])
        assert await saving.notes(inc.systems) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@proves("CHECKPOINT-004", "R-1")
async def test_a_full_disk_fails_the_checkpoint_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    main = make_repository(small_disk / "project")
    async with with_worktree(tmp_path, main=main) as inc:
        (inc.path / "big").write_bytes(os.urandom(3 * 2**20))
        before = everything(inc)

        with pytest.raises(Unavailable, match="is full"):
            await checkpoint(inc, "a respawn")

        assert (everything(inc), refs(inc), await checkpoints(inc)) == (before, [], [])


@proves("CHECKPOINT-005", "R-1")
async def test_a_removal_that_cannot_be_saved_first_does_not_happen(tmp_path: Path, small_disk: Path) -> None:
    main = make_repository(small_disk / "project")
    async with with_worktree(tmp_path, main=main) as inc:
        (inc.path / "big").write_bytes(os.urandom(3 * 2**20))
        write(inc.home, {"logs/web.log": "said\n"})
        before = everything(inc)

        with pytest.raises(Unavailable, match="is full"):
            await removal.remove(inc, reason="rm")

        assert (everything(inc), refs(inc)) == (before, [])
        assert (inc.home / "logs" / "web.log").read_text() == "said\n"
        assert git(main, "rev-parse", "--verify", "otter")


@proves("CHECKPOINT-004")
async def test_a_checkpoint_that_cannot_be_read_back_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_worktree(tmp_path) as inc:
        work_on(inc.path)
        blob = git(inc.path, "hash-object", "new/file")
        lost = inc.repo.common_dir / "objects" / blob[:2] / blob[2:]
        wrap(tmp_path, monkeypatch, f'case "$*" in *commit-tree*) rm -f {lost};; esac\nexec $real "$@"')

        with pytest.raises(Unavailable, match="cannot be read back"):
            await checkpoint(inc, "a respawn")

        assert (refs(inc), await checkpoints(inc)) == ([], [])
