"""Snapshots put back into the worktree they were taken of, and new worktrees made from one."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.errors import Conflict, NotFound
from envmgr.protocols.workspaces import Worktree
from tests.support.git import Ground, files_in, git, make_repository, write
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio
REF = "refs/envmgr/one/1"


async def worked_on(top: Path) -> tuple[Ground, Worktree]:
    """A worktree with a commit of its own, staged, changed, deleted, untracked and ignored files."""
    main = make_repository(
        top / "project", {".gitignore": "*.log\n", "a": "1\n", "b": "2\n", "gone": "3\n", "dir/x": "4\n"}
    )
    ground = await Ground.lay(top, main=main)
    worktree = await ground.tree("one")
    folder = worktree.path
    write(folder, {"own": "committed\n"})
    git(folder, "add", "own")
    git(folder, "commit", "--quiet", "-m", "own")
    write(folder, {"a": "changed\n", "b": "staged\n", "new/ünï code": "new\n", "build.log": "before\n"})
    git(folder, "add", "b")
    write(folder, {"b": "changed after staging\n"})
    (folder / "gone").unlink()
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("a")
    return ground, worktree


def seen(folder: Path) -> tuple[dict[str, bytes | str], str, str, str]:
    """Everything a snapshot keeps."""
    files = {name: data for name, data in files_in(folder).items() if not name.endswith(".log")}
    return (
        files,
        git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=all"),
        git(folder, "log", "--format=%H"),
        git(folder, "diff", "--cached"),
    )


async def in_merge(ground: Ground, folder: Path) -> None:
    git(ground.main, "branch", "other", ground.base)
    git(ground.main, "worktree", "add", "--quiet", str(ground.top / "other"), "other")
    write(ground.top / "other", {"own": "theirs\n"})
    git(ground.top / "other", "add", "own")
    git(ground.top / "other", "commit", "--quiet", "-m", "theirs")
    git(folder, "merge", "--quiet", "other", check=False)


@proves("DATA-001")
async def test_everything_is_as_it_was_and_ignored_files_are_as_they_are(tmp_path: Path) -> None:
    ground, worktree = await worked_on(tmp_path)
    folder, head = worktree.path, git(worktree.path, "rev-parse", "HEAD")
    before = seen(folder)
    await ground.workspaces.snapshot(worktree, REF)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "later")
    write(folder, {"a": "later\n", "later": "l\n", "deep/er/later": "l\n", "build.log": "after\n"})
    git(folder, "rm", "--quiet", "--cached", "own")
    (folder / "dir" / "x").unlink()
    (folder / "dir").rmdir()
    write(folder, {"dir": "a file now\n"})

    await ground.workspaces.rewind(ground.repo, worktree, head=head, ref=REF)

    assert seen(folder) == before
    assert (folder / "build.log").read_text() == "after\n"
    assert not (folder / "deep").exists()


@proves("DATA-001")
async def test_a_worktree_that_had_left_its_branch_leaves_it_again(tmp_path: Path) -> None:
    ground, worktree = await worked_on(tmp_path)
    folder, head = worktree.path, git(worktree.path, "rev-parse", "HEAD")
    git(folder, "stash", "--quiet", "--include-untracked")
    git(folder, "switch", "--quiet", "--detach", ground.base)
    write(folder, {"a": "detached work\n"})
    before = seen(folder)
    await ground.workspaces.snapshot(worktree, REF)
    git(folder, "commit", "--quiet", "--all", "-m", "lost")
    git(folder, "switch", "--quiet", worktree.branch)

    await ground.workspaces.rewind(ground.repo, worktree, head=head, ref=REF)

    assert seen(folder) == before
    assert git(folder, "rev-parse", worktree.branch) == head


@proves("DATA-002")
async def test_a_merge_that_was_under_way_is_under_way_again(tmp_path: Path) -> None:
    ground, worktree = await worked_on(tmp_path)
    folder, head = worktree.path, git(worktree.path, "rev-parse", "HEAD")
    git(folder, "stash", "--quiet", "--include-untracked")
    await in_merge(ground, folder)
    before, unmerged = seen(folder), git(folder, "ls-files", "--unmerged")
    await ground.workspaces.snapshot(worktree, REF)
    git(folder, "merge", "--abort")
    write(folder, {"later": "l\n"})

    await ground.workspaces.rewind(ground.repo, worktree, head=head, ref=REF)

    assert unmerged
    assert (seen(folder), git(folder, "ls-files", "--unmerged")) == (before, unmerged)
    assert (await ground.workspaces.work(worktree)).in_progress == "merge"


@proves("DATA-002")
async def test_a_merge_begun_later_is_gone(tmp_path: Path) -> None:
    ground, worktree = await worked_on(tmp_path)
    folder, head = worktree.path, git(worktree.path, "rev-parse", "HEAD")
    before = seen(folder)
    await ground.workspaces.snapshot(worktree, REF)
    git(folder, "stash", "--quiet", "--include-untracked")
    await in_merge(ground, folder)

    await ground.workspaces.rewind(ground.repo, worktree, head=head, ref=REF)

    assert seen(folder) == before
    assert (await ground.workspaces.work(worktree)).in_progress == ""


@proves("DATA-002")
async def test_a_rebase_under_way_and_a_branch_used_elsewhere_are_refused(tmp_path: Path) -> None:
    ground, worktree = await worked_on(tmp_path)
    folder, head = worktree.path, git(worktree.path, "rev-parse", "HEAD")
    await ground.workspaces.snapshot(worktree, REF)
    git(folder, "stash", "--quiet", "--include-untracked")
    await in_merge(ground, folder)
    git(folder, "merge", "--abort")
    git(folder, "rebase", "other", check=False)
    before = seen(folder)

    with pytest.raises(Conflict, match="a rebase is under way"):
        await ground.workspaces.rewind(ground.repo, worktree, head=head, ref=REF)
    assert seen(folder) == before

    git(folder, "rebase", "--abort")
    git(folder, "switch", "--quiet", "--detach")
    git(ground.main, "switch", "--quiet", worktree.branch)
    with pytest.raises(Conflict, match="is checked out in"):
        await ground.workspaces.rewind(ground.repo, worktree, head=head, ref=REF)


@proves("DATA-003")
async def test_a_restore_that_was_cut_off_is_finished_by_another(tmp_path: Path) -> None:
    ground, worktree = await worked_on(tmp_path)
    folder, head = worktree.path, git(worktree.path, "rev-parse", "HEAD")
    admin = Path(git(folder, "rev-parse", "--absolute-git-dir"))
    before = seen(folder)
    await ground.workspaces.snapshot(worktree, REF)
    write(folder, {"later": "l\n", "own": "later\n"})
    # What a git leaves that is killed in the middle of writing files: some written, the index locked.
    git(folder, "read-tree", "HEAD~1")
    write(folder, {"a": "half"})
    (admin / "index.lock").write_bytes(b"half an index")

    await ground.workspaces.rewind(ground.repo, worktree, head=head, ref=REF)

    assert seen(folder) == before


@proves("DATA-004")
async def test_worktrees_made_from_one_snapshot_hold_the_same_work_on_branches_of_their_own(
    tmp_path: Path,
) -> None:
    ground, worktree = await worked_on(tmp_path)
    head = git(worktree.path, "rev-parse", "HEAD")
    files, _, log, staged = seen(worktree.path)
    await ground.workspaces.snapshot(worktree, REF)

    forks = [
        await ground.workspaces.restore(
            ground.repo, path=ground.root / name, branch=f"agent/{name}", head=head, ref=REF, owner=f"in1/{name}",
            base=head,
        )
        for name in ("two", "three")
    ]  # fmt: skip

    for fork in forks:
        found, _, same_log, same_staged = seen(fork.path)
        assert (found, same_log, same_staged) == (files, log, staged)
        assert git(fork.path, "symbolic-ref", "--short", "HEAD") == fork.branch
    assert (await ground.workspaces.work(forks[0])).unpushed == 0
    assert seen(worktree.path)[0] == files
    await ground.remove(forks[0], owner="in1/two")
    assert await ground.workspaces.drop_branch(ground.repo, "agent/two", at=head)


@proves("DATA-001")
async def test_a_dropped_snapshot_is_gone_and_can_be_dropped_again(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    await ground.workspaces.snapshot(worktree, REF)

    await ground.workspaces.drop_snapshot(ground.repo, REF)
    await ground.workspaces.drop_snapshot(ground.repo, REF)

    with pytest.raises(NotFound):
        await ground.workspaces.rewind(ground.repo, worktree, head=ground.base, ref=REF)
    with pytest.raises(Conflict, match="not a place for snapshots"):
        await ground.workspaces.drop_snapshot(ground.repo, "refs/heads/main")
