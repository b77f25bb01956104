from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from envmgr.drivers.git import GitWorkspaces
from envmgr.errors import Conflict, NotFound, Unobservable
from envmgr.protocols.workspaces import Work, Worktree
from tests.support.git import OWNER, Ground, allow_file_clones, files_in, git, make_repository, write
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio
REF = "refs/envmgr/one/1"


@pytest.fixture
def file_clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_file_clones(tmp_path / "gitconfig", monkeypatch)


def commit(folder: Path, files: dict[str, str], message: str = "more") -> str:
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


async def with_submodule(top: Path) -> tuple[Ground, Worktree]:
    library = make_repository(top / "library", {"lib.c": "int x;\n"})
    main = make_repository(top / "project")
    git(main, "submodule", "--quiet", "add", str(library), "lib")
    git(main, "commit", "--quiet", "-m", "submodule")
    ground = await Ground.lay(top, main=main)
    worktree = await ground.tree("one")
    await ground.workspaces.submodules(worktree)
    return ground, worktree


async def in_conflict(top: Path) -> tuple[Ground, Worktree]:
    ground = await Ground.lay(top)
    worktree = await ground.tree("one")
    commit(worktree.path, {"README": "ours\n", "staged": "1\n"})
    git(ground.main, "branch", "other", ground.base)
    git(ground.main, "worktree", "add", "--quiet", str(top / "other"), "other")
    commit(top / "other", {"README": "theirs\n", "fine": "f\n"})
    git(worktree.path, "merge", "--quiet", "other", check=False)
    return ground, worktree


@proves("GIT-030")
async def test_a_fresh_worktree_is_safe_to_drop(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    work = await ground.workspaces.work(await ground.tree("one"))
    assert (work, work.is_safe_to_drop) == (Work(), True)


@proves("GIT-030", "R-1")
async def test_changed_staged_deleted_and_untracked_files_count_ignored_ones_do_not(tmp_path: Path) -> None:
    main = make_repository(
        tmp_path / "project", {".gitignore": "out\n", "a b": "1\n", "gone": "2\n", "ünï": "3\n"}
    )
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")
    write(
        worktree.path,
        {"a b": "changed\n", "new/deep": "n\n", "staged": "s\n", "out": "ignored\n", "ünï": "4\n"},
    )
    git(worktree.path, "add", "staged")
    (worktree.path / "gone").unlink()

    work = await ground.workspaces.work(worktree)

    assert sorted(work.changed) == ["a b", "gone", "new/deep", "staged", "ünï"]
    assert not work.is_safe_to_drop


@proves("GIT-030")
async def test_commits_count_until_a_remote_has_them(tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(make_repository(tmp_path / "source")), "remote.git")
    git(tmp_path, "clone", "--quiet", "remote.git", "project")
    ground = await Ground.lay(tmp_path, main=tmp_path / "project")
    worktree = await ground.tree("one")
    commit(worktree.path, {"x": "1\n"})
    commit(worktree.path, {"x": "2\n"})
    assert (await ground.workspaces.work(worktree)).unpushed == 2

    git(worktree.path, "push", "--quiet", "origin", "HEAD")

    assert (await ground.workspaces.work(worktree)).is_safe_to_drop


@proves("GIT-030")
async def test_commits_on_the_branch_count_also_when_the_agent_left_it(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    commit(worktree.path, {"x": "1\n"})
    git(worktree.path, "switch", "--quiet", "--detach", ground.base)
    assert (await ground.workspaces.work(worktree)).unpushed == 1

    commit(worktree.path, {"y": "1\n"})
    assert (await ground.workspaces.work(worktree)).unpushed == 2


@proves("GIT-031")
@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("merge", "other"), "merge"),
        (("rebase", "other"), "rebase"),
        (("cherry-pick", "other"), "cherry-pick"),
        (("bisect", "start"), "bisect"),
    ],
)
async def test_an_operation_under_way_is_named(tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    ground, worktree = await in_conflict(tmp_path)
    git(worktree.path, "merge", "--abort")
    git(worktree.path, *command, check=False)

    assert (await ground.workspaces.work(worktree)).in_progress == name


@proves("GIT-032", "R-7")
@pytest.mark.usefixtures("file_clones")
async def test_work_inside_a_submodule_makes_a_worktree_unsafe(tmp_path: Path) -> None:
    ground, worktree = await with_submodule(tmp_path)
    assert (worktree.path / "lib" / "lib.c").exists()
    assert (await ground.workspaces.work(worktree)).is_safe_to_drop

    write(worktree.path, {"lib/new": "n\n"})
    assert (await ground.workspaces.work(worktree)).changed == ("lib",)

    commit(worktree.path / "lib", {})
    commit(worktree.path, {})
    assert (await ground.workspaces.work(worktree)).unpushed == 2


@proves("GIT-033")
async def test_when_git_cannot_tell_nothing_is_claimed(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    head = ground.main / ".git" / "worktrees" / "one" / "HEAD"
    head.write_text("nonsense\n")
    with pytest.raises(Unobservable):
        await ground.workspaces.work(worktree)

    shutil.rmtree(worktree.path)
    with pytest.raises(Unobservable):
        await ground.workspaces.work(worktree)


def messy(folder: Path) -> None:
    """Every sort of uncommitted change at once."""
    write(folder, {"README": "staged\n", "new/staged": "s\n"})
    git(folder, "add", "--all")
    write(
        folder,
        {"README": "staged, then changed\n", "untracked/file": "u\n", "ünï cödé": "x\n", "ignored": "i\n"},
    )
    (folder / "src" / "app.py").unlink()
    (folder / "link").symlink_to("README")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)


async def snapshot_remove_restore(ground: Ground, worktree: Worktree, name: str = "one") -> Worktree:
    head = git(worktree.path, "rev-parse", "HEAD")
    await ground.workspaces.snapshot(worktree, REF)
    await ground.remove(worktree)
    assert await ground.workspaces.drop_branch(ground.repo, worktree.branch, at=head)
    return await ground.workspaces.restore(
        ground.repo, path=ground.root / name, branch=worktree.branch, head=head, ref=REF, owner=OWNER
    )


@proves("GIT-040", "R-1")
async def test_work_comes_back_exactly_as_it_was_staged_and_unstaged(tmp_path: Path) -> None:
    main = make_repository(
        tmp_path / "project", {".gitignore": "ignored\n", "README": "r\n", "src/app.py": "a\n"}
    )
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")
    commit(worktree.path, {"committed": "c\n"})
    messy(worktree.path)
    before = (git(worktree.path, "status", "--porcelain=v2", "--branch"), files_in(worktree.path))

    back = await snapshot_remove_restore(ground, worktree)

    (back.path / "ignored").write_text("i\n")
    assert (git(back.path, "status", "--porcelain=v2", "--branch"), files_in(back.path)) == before
    assert back == worktree
    assert (await ground.workspaces.work(back)).unpushed == 1


@proves("GIT-041")
async def test_a_snapshot_changes_nothing_in_the_worktree(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    messy(worktree.path)
    admin = ground.main / ".git" / "worktrees" / "one"
    before = (files_in(admin), files_in(worktree.path))

    saved = await ground.workspaces.snapshot(worktree, REF)

    assert (files_in(admin), files_in(worktree.path)) == before
    assert git(ground.main, "rev-parse", REF) == saved
    assert git(ground.main, "show", f"{REF}:untracked/file") == "u"


@proves("GIT-041")
async def test_a_snapshot_works_without_a_user_and_with_an_index_lock_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    write(worktree.path, {"new": "n\n"})
    write(ground.main / ".git" / "worktrees" / "one", {"index.lock": ""})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(ground.main, "config", "user.useConfigOnly", "true")
    git(ground.main, "config", "commit.gpgSign", "true")

    await ground.workspaces.snapshot(worktree, REF)

    assert git(ground.main, "show", f"{REF}:new") == "n"


@proves("GIT-041")
async def test_a_change_within_the_second_of_the_last_index_write_is_saved(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    readme = worktree.path / "README"
    index = ground.main / ".git" / "worktrees" / "one" / "index"
    git(worktree.path, "config", "core.trustctime", "false")
    os.utime(readme, (1_000_000_000, 1_000_000_000))
    git(worktree.path, "update-index", "--refresh")
    os.utime(index, (1_000_000_000, 1_000_000_000))
    # Same size and same second as git noted: only the time of the index says that it must look closer.
    readme.write_text("READ ME\n")
    os.utime(readme, (1_000_000_000, 1_000_000_000))

    await ground.workspaces.snapshot(worktree, REF)

    assert git(ground.main, "show", f"{REF}:README") == "READ ME"


@proves("GIT-042")
async def test_a_merge_that_is_resolved_but_not_committed_comes_back_as_such(tmp_path: Path) -> None:
    ground, worktree = await in_conflict(tmp_path)
    git(worktree.path, "add", "README")
    before = git(worktree.path, "status", "--porcelain=v2")

    back = await snapshot_remove_restore(ground, worktree)

    assert git(back.path, "status", "--porcelain=v2") == before
    assert (await ground.workspaces.work(back)).in_progress == "merge"


@proves("GIT-042")
async def test_a_merge_in_conflict_comes_back_in_conflict_and_can_be_finished(tmp_path: Path) -> None:
    ground, worktree = await in_conflict(tmp_path)
    write(worktree.path, {"untracked": "u\n"})
    before = (git(worktree.path, "status", "--porcelain=v2"), files_in(worktree.path))
    assert before[0].startswith("u UU") or "\nu UU" in before[0]

    back = await snapshot_remove_restore(ground, worktree)

    assert (git(back.path, "status", "--porcelain=v2"), files_in(back.path)) == before
    assert (await ground.workspaces.work(back)).in_progress == "merge"
    commit(back.path, {"README": "both\n"}, "merged")
    assert git(back.path, "rev-parse", "HEAD^2") == git(ground.main, "rev-parse", "other")


@proves("GIT-042")
async def test_a_saved_conflict_survives_garbage_collection(tmp_path: Path) -> None:
    ground, worktree = await in_conflict(tmp_path)
    write(worktree.path, {"staged": "only in the index\n"})
    git(worktree.path, "add", "staged")
    write(worktree.path, {"staged": "later\n"})
    before = git(worktree.path, "status", "--porcelain=v2")
    head = git(worktree.path, "rev-parse", "HEAD")
    await ground.workspaces.snapshot(worktree, REF)
    await ground.remove(worktree)
    git(ground.main, "worktree", "remove", "--force", str(tmp_path / "other"))
    git(ground.main, "branch", "-D", "agent/one", "other")
    git(ground.main, "reflog", "expire", "--expire=now", "--all")
    git(ground.main, "gc", "--quiet", "--prune=now")

    back = await ground.workspaces.restore(
        ground.repo, path=worktree.path, branch="agent/one", head=head, ref=REF, owner=OWNER
    )

    assert git(back.path, "status", "--porcelain=v2") == before
    assert git(back.path, "show", ":0:staged") == "only in the index"


@proves("GIT-043", "R-7")
@pytest.mark.usefixtures("file_clones")
async def test_what_a_snapshot_cannot_hold_is_refused_not_dropped(tmp_path: Path) -> None:
    ground, worktree = await with_submodule(tmp_path)
    await ground.workspaces.snapshot(worktree, REF)

    write(worktree.path, {"lib/new": "n\n"})
    with pytest.raises(Conflict, match="submodule lib"):
        await ground.workspaces.snapshot(worktree, REF)
    (worktree.path / "lib" / "new").unlink()

    make_repository(worktree.path / "inner")
    with pytest.raises(Conflict, match="inner is a repository of its own"):
        await ground.workspaces.snapshot(worktree, REF)
    shutil.rmtree(worktree.path / "inner")

    git(worktree.path, "init", "--quiet", "empty")
    with pytest.raises(Conflict, match="empty is a repository of its own"):
        await ground.workspaces.snapshot(worktree, REF)


@proves("GIT-044")
async def test_restoring_over_a_branch_or_folder_that_exists_again_is_refused(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    await ground.workspaces.snapshot(worktree, REF)
    await ground.remove(worktree)

    async def restore(ref: str = REF) -> Worktree:
        return await ground.workspaces.restore(
            ground.repo, path=worktree.path, branch="agent/one", head=ground.base, ref=ref, owner=OWNER
        )

    with pytest.raises(Conflict, match="exists already"):
        await restore()
    git(ground.main, "branch", "-D", "agent/one")
    write(worktree.path, {"mine": "m\n"})
    with pytest.raises(Conflict, match="not empty"):
        await restore()
    assert ground.branches() == []
    with pytest.raises(NotFound):
        await restore("refs/envmgr/one/2")


@proves("GIT-044")
async def test_snapshots_are_kept_only_in_our_own_part_of_the_refs(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    with pytest.raises(Conflict, match="not a place for snapshots"):
        await ground.workspaces.snapshot(worktree, "refs/heads/main")


@proves("GIT-050")
async def test_removing_ends_registration_and_folder_and_twice_is_harmless(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")

    await ground.remove(worktree)
    await ground.remove(worktree)

    assert (ground.registered(), list(ground.root.iterdir())) == ([], [])
    assert ground.branches() == ["agent/one"]


@proves("GIT-050")
async def test_removal_goes_on_where_a_killed_one_stopped(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    (ground.root / ".trash").mkdir()
    worktree.path.rename(ground.root / ".trash" / "0123")

    await ground.remove(worktree)

    assert (ground.registered(), list(ground.root.iterdir())) == ([], [])


@proves("GIT-051")
async def test_a_large_tree_with_read_only_folders_is_deleted_in_the_background(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    write(worktree.path, {f"cache/{number % 20}/{number}": "" for number in range(2_500)})
    (worktree.path / "cache" / "1").chmod(0o555)

    await ground.workspaces.remove(ground.repo, worktree, owner=OWNER, root=ground.root)
    assert not worktree.path.exists()
    await ground.workspaces.drain()

    assert list(ground.root.iterdir()) == []


@proves("R-7")
@pytest.mark.usefixtures("file_clones")
async def test_a_worktree_with_submodules_is_removed_whole(tmp_path: Path) -> None:
    ground, worktree = await with_submodule(tmp_path)

    await ground.remove(worktree)

    assert (ground.registered(), list(ground.root.iterdir())) == ([], [])
    assert git(ground.main, "submodule", "status").split()[1] == "lib"


@proves("R-3", "R-37")
async def test_nothing_outside_the_root_is_removed_whatever_path_is_named(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    write(tmp_path, {"outside/precious": "p\n"})
    (ground.root / "way-out").symlink_to(tmp_path / "outside")
    (ground.root / "dangling").symlink_to(tmp_path / "nowhere")
    make_repository(ground.root / "own")
    git(ground.root, "clone", "--quiet", "--bare", str(ground.main), "bare")
    everything = files_in(tmp_path).keys()

    for path, root in [
        (tmp_path / "outside", ground.root),
        (ground.root / ".." / "outside", ground.root),
        (ground.root / "way-out", ground.root),
        (ground.root / "dangling", ground.root),
        (ground.root / "own", ground.root),
        (ground.root / "bare", ground.root),
        (ground.root, ground.root),
        (ground.main, tmp_path),
        (ground.main / ".git", ground.main),
        (ground.main / ".git" / "refs", tmp_path),
        (tmp_path, tmp_path.parent),
        (worktree.path, tmp_path / "outside"),
    ]:
        named = Worktree(path=path, branch="agent/one", base=ground.base)
        with pytest.raises(Conflict) as refused:
            await ground.workspaces.remove(ground.repo, named, owner=OWNER, root=root)
        assert "is not removed: " in refused.value.message
        assert refused.value.hint

    assert files_in(tmp_path).keys() - everything == {f"state/locks/{ground.repo.key}.lock"} - everything


@proves("R-2", "R-3")
async def test_only_the_worktree_of_the_named_owner_is_removed(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    theirs = await ground.tree("theirs", owner="in2/other")
    git(ground.main, "worktree", "add", "--quiet", "--detach", str(ground.root / "hand"))
    write(ground.root, {"plain/file": "f\n"})

    for name in ("theirs", "hand", "plain"):
        with pytest.raises(Conflict):
            await ground.remove(Worktree(path=ground.root / name, branch="x", base=ground.base))

    assert sorted(ground.registered()) == ["hand", "theirs"]
    assert files_in(theirs.path) == files_in(ground.main)
    assert (ground.root / "plain" / "file").exists()


@proves("GIT-052")
async def test_a_branch_is_dropped_only_while_it_points_where_expected(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    drop = ground.workspaces.drop_branch
    assert not await drop(ground.repo, "agent/one", at=ground.base)
    tip = commit(worktree.path, {"x": "1\n"})
    git(worktree.path, "config", "branch.agent/one.remote", "origin")
    await ground.remove(worktree)

    assert not await drop(ground.repo, "agent/one", at=ground.base)
    assert ground.branches() == ["agent/one"]
    assert await drop(ground.repo, "agent/one", at=tip)
    assert ground.branches() == []
    assert "agent/one" not in (ground.main / ".git" / "config").read_text()
    assert await drop(ground.repo, "agent/one", at=tip)


@proves("GIT-053")
async def test_everything_works_on_a_bare_repository(tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(make_repository(tmp_path / "source")), "bare repo.git")
    ground = await Ground.lay(tmp_path, main=tmp_path / "bare repo.git")
    worktree = await ground.tree("one")
    assert await GitWorkspaces(tmp_path / "state").populate(ground.repo, worktree, ["*"]) == 0
    write(worktree.path, {"new": "n\n"})

    back = await snapshot_remove_restore(ground, worktree)

    assert git(back.path, "status", "--porcelain") == "?? new"
