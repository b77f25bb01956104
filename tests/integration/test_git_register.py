from __future__ import annotations

import shutil
import signal
import threading
from pathlib import Path

import anyio
import pytest

from envmgr.errors import ConfigError, Conflict, EnvmgrError, UsageError
from envmgr.model.observe import Absent, Present, Unknown
from tests.support.git import OWNER, Ground, files_in, git, make_repository, python, wrap, write
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@proves("GIT-010")
async def test_a_new_worktree_has_its_branch_and_the_files_of_its_base_and_is_locked_for_its_owner(
    tmp_path: Path,
) -> None:
    ground = await Ground.lay(tmp_path)

    worktree = await ground.tree("one")

    assert files_in(worktree.path) == files_in(ground.main)
    assert git(worktree.path, "status", "--porcelain=v2", "--branch").splitlines() == [
        f"# branch.oid {ground.base}",
        "# branch.head agent/one",
    ]
    assert OWNER in git(ground.main, "worktree", "list", "--porcelain")
    assert await ground.workspaces.look(ground.repo, worktree.path, OWNER) == Present(worktree)


@proves("GIT-010")
async def test_registering_again_returns_the_same_worktree_with_its_work(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    first = await ground.tree("one")
    write(first.path, {"new": "work\n"})

    assert await ground.register("one") == first
    assert (first.path / "new").exists()


@proves("R-8")
async def test_nothing_that_agents_need_touches_the_main_checkout(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    write(ground.main, {"README": "changed\n", "staged": "s\n", "untracked": "u\n"})
    git(ground.main, "add", "staged")
    kept = ("index", "HEAD", "config", "logs/HEAD")
    before = [git(ground.main, "status", "--porcelain=v2"), files_in(ground.main)]
    raw = [(ground.main / ".git" / name).read_bytes() for name in kept]

    worktree = await ground.tree("one")
    write(worktree.path, {"README": "agent\n"})
    await ground.workspaces.work(worktree)
    await ground.workspaces.snapshot(worktree, "refs/envmgr/one/1")
    await ground.remove(worktree)
    await ground.workspaces.drop_branch(ground.repo, worktree.branch, at=ground.base)

    assert [(ground.main / ".git" / name).read_bytes() for name in kept] == raw
    assert [git(ground.main, "status", "--porcelain=v2"), files_in(ground.main)] == before


@proves("R-2")
async def test_the_worktree_of_another_owner_is_refused_and_stays(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    theirs = await ground.tree("one", owner="in1/other")

    with pytest.raises(Conflict, match="in1/other"):
        await ground.register("one", branch="agent/mine")

    assert await ground.workspaces.look(ground.repo, theirs.path, OWNER) == Absent()
    assert await ground.workspaces.look(ground.repo, theirs.path, "in1/other") == Present(theirs)
    assert ground.branches() == ["agent/one"]


@proves("GIT-011", "R-37")
async def test_an_existing_branch_is_refused_naming_where_it_is_checked_out(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    git(ground.main, "worktree", "add", "--quiet", "-b", "agent/one", str(tmp_path / "by hand"))

    with pytest.raises(Conflict, match="by hand"):
        await ground.register("one")

    assert ground.branches() == ["agent/one"]


@proves("GIT-011")
async def test_a_branch_that_cannot_exist_beside_another_is_refused_at_once(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    git(ground.main, "branch", "agent")

    with pytest.raises(Conflict, match="cannot exist beside agent"):
        await ground.register("one")


@proves("GIT-011")
async def test_a_folder_with_files_is_refused_and_no_branch_stays_behind(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    write(ground.root, {"one/precious": "mine\n"})

    with pytest.raises(Conflict, match="not empty"):
        await ground.register("one")

    assert (ground.root / "one" / "precious").read_text() == "mine\n"
    assert (ground.branches(), ground.registered()) == ([], [])


@proves("GIT-011")
async def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    (ground.root / "one").mkdir(parents=True)
    assert (await ground.tree("one")).path.joinpath("README").exists()


@proves("GIT-012")
@pytest.mark.parametrize("name", ["$(touch x)", "a b", "ünï", "-x", "'; rm -rf x", "a*b", "[x]"])
async def test_folder_names_are_never_read_by_a_shell_or_as_options(tmp_path: Path, name: str) -> None:
    ground = await Ground.lay(tmp_path, main=make_repository(tmp_path / "my $HOME project"))

    worktree = await ground.workspaces.register(
        ground.repo, path=ground.root / name, branch="agent/odd", base=ground.base, owner="x y\n$(z)"
    )
    await ground.workspaces.checkout(worktree)

    assert sorted(child.name for child in ground.root.iterdir()) == [name]
    assert await ground.workspaces.look(ground.repo, worktree.path, "x y\n$(z)") == Present(worktree)
    await ground.remove(worktree, owner="x y\n$(z)")
    assert not list(ground.root.iterdir())


@proves("GIT-012")
@pytest.mark.parametrize("branch", ["-x", "--detach", "a b", "a..b", "a\nb"])
async def test_branch_names_that_git_would_not_take_make_nothing(tmp_path: Path, branch: str) -> None:
    ground = await Ground.lay(tmp_path)
    with pytest.raises((ConfigError, UsageError)):
        await ground.register("one", branch=branch)
    assert (ground.branches(), ground.registered(), ground.root.exists()) == ([], [], False)


@proves("R-4")
async def test_a_vanished_worktree_is_made_again_on_its_branch_with_its_commits(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    git(worktree.path, "commit", "--quiet", "--allow-empty", "-m", "work")
    tip = git(worktree.path, "rev-parse", "HEAD")
    shutil.rmtree(worktree.path)
    assert await ground.workspaces.look(ground.repo, worktree.path, OWNER) == Absent()

    assert await ground.tree("one") == worktree
    assert git(worktree.path, "rev-parse", "HEAD") == tip


@proves("R-4")
async def test_a_stale_registration_by_hand_does_not_block_and_others_are_left_alone(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    for name in ("one", "two"):
        git(ground.main, "worktree", "add", "--quiet", "--detach", str(ground.root / name))
    shutil.rmtree(ground.root)

    await ground.tree("one")

    assert sorted(ground.registered()) == ["one", "two"]


@proves("R-4")
async def test_a_stale_registration_that_somebody_locked_is_refused(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    git(ground.main, "worktree", "add", "--quiet", "--lock", "--detach", str(ground.root / "one"))
    shutil.rmtree(ground.root)

    with pytest.raises(Conflict, match="not envmgr's"):
        await ground.register("one")

    assert (ground.registered(), ground.branches()) == (["one"], [])


@proves("R-6")
async def test_worktrees_inside_the_checkout_do_not_show_in_its_status(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    ground.root = ground.main / "trees"

    await ground.tree("one")
    await ground.tree("two")

    assert git(ground.main, "status", "--porcelain") == ""
    assert git(ground.main, "add", "--all", "--dry-run") == ""


_REGISTER = """
import sys, anyio
from pathlib import Path
from tests.support.git import Ground
async def main(top, first):
    ground = await Ground.lay(Path(top), main=Path(top) / "project")
    async with anyio.create_task_group() as tasks:
        for number in range(first, first + 10):
            tasks.start_soon(lambda n=number: ground.tree(f"t{n}", owner=f"o{n}"))
anyio.run(main, sys.argv[1], int(sys.argv[2]))
"""


@proves("R-5")
async def test_twenty_worktrees_made_at_once_by_two_processes_all_succeed(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)

    processes = [python(_REGISTER, str(tmp_path), first) for first in ("0", "10")]
    for process in processes:
        _, said = await anyio.to_thread.run_sync(process.communicate)
        assert process.returncode == 0, said

    assert len(ground.registered()) == len(ground.branches()) == 20
    assert all(git(ground.root / name, "status", "--porcelain") == "" for name in ground.registered())


@proves("R-5")
async def test_a_git_of_somebody_else_in_the_way_is_waited_for(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    held = ground.main / ".git" / "refs" / "heads" / "agent" / "one.lock"
    write(held.parent, {held.name: ""})
    freed = threading.Timer(0.15, held.unlink)
    freed.start()

    await ground.register("one")

    freed.join()
    assert (ground.registered(), ground.branches()) == (["one"], ["agent/one"])


@proves("R-5")
async def test_giving_up_names_the_lock_and_leaves_neither_branch_nor_folder(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    write(ground.main / ".git" / "refs" / "heads" / "agent", {"one.lock": ""})

    with pytest.raises(Conflict) as refused:
        await ground.register("one")

    assert "another git process" in refused.value.message
    assert (ground.registered(), ground.branches()) == ([], [])


_DIE = """
import sys, anyio
from pathlib import Path
from tests.support.git import Ground
async def main(top):
    ground = await Ground.lay(Path(top), main=Path(top) / "project")
    await ground.tree("one")
anyio.run(main, sys.argv[1])
"""


@proves("GIT-013")
@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.002, 0.003, 0.004, 0.006])
@pytest.mark.parametrize("command", ["worktree add", "read-tree"])
async def test_a_kill_at_any_moment_is_healed_by_the_next_attempt_of_the_same_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, delay_s: float
) -> None:
    main = make_repository(tmp_path / "project", {f"file{number}": "x" * 5000 for number in range(50)})
    die_during(command, delay_s, tmp_path, monkeypatch)
    process = python(_DIE, str(tmp_path))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    monkeypatch.undo()

    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")

    assert git(worktree.path, "status", "--porcelain=v2") == ""
    assert (ground.registered(), ground.branches()) == (["one"], ["agent/one"])
    assert git(main, "fsck", "--no-progress") == ""


def die_during(command: str, delay_s: float, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git kill itself and its caller shortly after the start of `command`."""
    wrap(
        top,
        monkeypatch,
        f"""case "$*" in *"{command}"*) ;; *) exec "$real" "$@";; esac
        "$real" "$@" & child=$!
        sleep {delay_s}; kill -KILL $child; kill -KILL $PPID""",
    )


@proves("GIT-013")
async def test_a_branch_left_by_a_killed_attempt_is_taken_and_one_that_was_there_before_is_not(
    tmp_path: Path,
) -> None:
    ground = await Ground.lay(tmp_path)
    note = tmp_path / "state" / "locks" / ground.repo.key / "in1%2Fa1b2c3d4"
    git(ground.main, "branch", "agent/one")
    with pytest.raises(Conflict):
        await ground.register("one")
    assert not note.exists()

    git(ground.main, "commit", "--quiet", "--allow-empty", "-m", "moves on")
    git(ground.main, "branch", "--force", "agent/one", "main")
    write(note.parent, {note.name: "agent/one"})
    with pytest.raises(Conflict):
        await ground.register("one")

    git(ground.main, "branch", "--force", "agent/one", ground.base)
    write(note.parent, {note.name: "agent/one"})
    await ground.register("one")

    assert not note.exists()


@proves("GIT-013")
async def test_a_registration_without_path_of_a_killed_attempt_is_cleared_away(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.register("one")
    admin = ground.main / ".git" / "worktrees" / "one"
    # As git leaves it when it dies right after `mkdir` and the lock's reason, with our note still there.
    for file in ("gitdir", "HEAD", "commondir"):
        (admin / file).unlink()
    shutil.rmtree(worktree.path)
    write(tmp_path / "state" / "locks" / ground.repo.key, {"in1%2Fa1b2c3d4": "agent/one"})

    await ground.register("one")

    assert ground.registered() == ["one"]


@proves("GIT-014")
async def test_a_repository_that_is_away_is_unknown_not_absent(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    ground.main.rename(tmp_path / "away")

    assert isinstance(await ground.workspaces.look(ground.repo, worktree.path, OWNER), Unknown)


@proves("GIT-014")
async def test_a_worktree_whose_lock_was_taken_away_is_not_ours_any_more(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    git(ground.main, "worktree", "unlock", str(worktree.path))

    assert await ground.workspaces.look(ground.repo, worktree.path, OWNER) == Absent()


_HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@proves("GIT-015")
async def test_a_lock_held_by_a_stuck_process_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    ground.workspaces = type(ground.workspaces)(tmp_path / "state", lock_deadline_s=0.1)
    lock = tmp_path / "state" / "locks" / f"{ground.repo.key}.lock"
    lock.parent.mkdir(parents=True)
    holder = python(_HOLD, str(lock))
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "held"
    try:
        with pytest.raises(EnvmgrError, match="locked by another process"):
            await ground.register("one")
    finally:
        holder.kill()
        holder.communicate()

    assert (await ground.register("one")).path.exists()
