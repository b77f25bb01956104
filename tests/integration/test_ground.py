"""The ground under an agent: worktrees that went away, and locks that a killed git has left."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.aio import blocking
from envmgr.model.incident import Part, Symptom
from envmgr.model.spec import AgentSpec
from envmgr.runtime.actor import Actor
from envmgr.runtime.recovery.ground import GroundWatch, free_index, is_there, rebuild, wrong_with
from tests.support.git import git, make_repository, write
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually, eventually
from tests.support.worktrees import with_worktree, work_on

pytestmark = pytest.mark.anyio


def _lock(worktree: Path, *, age_s: float) -> Path:
    lock = Path(git(worktree, "rev-parse", "--absolute-git-dir")) / "index.lock"
    lock.touch()
    os.utime(lock, (time.time() - age_s,) * 2)
    return lock


@proves("GROUND-001", "R-15")
async def test_a_lost_worktree_is_reported_at_the_second_look_and_a_whole_one_never(tmp_path: Path) -> None:
    told: list[Symptom] = []

    def report(actor: Actor, symptom: Symptom) -> None:
        told.append(symptom)

    async with with_worktree(tmp_path) as inc:
        supervisor, actor = await take_over(inc)
        actor.incarnation = inc
        watch = GroundWatch(supervisor, report)
        await watch.look()
        await watch.look()
        assert told == []

        await blocking.act("file", shutil.rmtree, inc.path)
        await watch.look()
        assert told == []
        await watch.look()

        assert [(one.part, one.words) for one in told] == [(Part.WORKSPACE, "its worktree is gone")]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A linked worktree."""
    main = make_repository(tmp_path / "main", {"a": "1\n"})
    git(main, "worktree", "add", "-q", str(tmp_path / "tree"))
    return tmp_path / "tree"


@proves("GROUND-002")
def test_what_is_wrong_with_a_worktree_is_told(tree: Path) -> None:
    assert wrong_with(tree) == ""

    (tree / ".git").write_text("gitdir: /nowhere/at/all\n", encoding="utf-8")
    assert wrong_with(tree) == "git does not know its worktree any more"
    (tree / ".git").unlink()
    assert wrong_with(tree) == "its worktree has lost its .git"


@proves("GROUND-002")
@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (b"\xff\xfe\x00", "its worktree has lost its .git"),
        (b"", "its worktree has lost its .git"),
        (b"gitdir: /\xff\x00", "git does not know its worktree any more"),
        (b"gitdir: /" + b"x" * 6000, "git does not know its worktree any more"),
    ],
    ids=["no text", "nothing", "no path", "too long a path"],
)
def test_whatever_an_agent_writes_into_its_git_file_is_no_worktree(
    tree: Path, said: bytes, wrong: str
) -> None:
    (tree / ".git").write_bytes(said)

    assert wrong_with(tree) == wrong


@proves("GROUND-001")
async def test_a_worktree_that_hangs_costs_one_thread_however_often_it_is_looked_at(
    tmp_path: Path,
) -> None:
    told: list[Symptom] = []
    async with with_worktree(tmp_path) as inc:
        supervisor, actor = await take_over(inc)
        actor.incarnation = inc
        pointer = inc.path / ".git"
        pointer.unlink()
        os.mkfifo(pointer)  # whoever opens it to read waits until somebody writes
        watch = GroundWatch(supervisor, lambda _, symptom: told.append(symptom), patience_s=0.05)
        before = threading.active_count()

        for _ in range(8):
            await watch.look()

        assert told == [], "not seeing is not losing"
        assert threading.active_count() <= before + 1
        os.close(os.open(pointer, os.O_WRONLY | os.O_NONBLOCK))
        pointer.unlink()
        await async_eventually(lambda: _look(watch, told))
        assert told[0].words == "its worktree has lost its .git"


async def _look(watch: GroundWatch, told: list[Symptom]) -> bool:
    await watch.look()
    return bool(told)


@proves("GROUND-003")
def test_an_index_lock_that_nobody_holds_is_removed(tree: Path) -> None:
    lock = _lock(tree, age_s=60)

    assert free_index(tree)

    assert not lock.exists()
    assert not free_index(tree)


@proves("GROUND-003")
def test_a_young_index_lock_stays(tree: Path) -> None:
    lock = _lock(tree, age_s=1)

    assert not free_index(tree)

    assert lock.exists()


@proves("GROUND-003")
def test_an_index_lock_that_is_open_stays(tree: Path) -> None:
    lock = _lock(tree, age_s=60)
    with lock.open("rb"):
        assert not free_index(tree)

    assert lock.exists()


@proves("GROUND-003")
def test_an_index_lock_stays_while_a_git_works_there(tree: Path, tmp_path: Path) -> None:
    lock = _lock(tree, age_s=60)
    (tmp_path / "git").symlink_to(shutil.which("sleep") or "")
    with subprocess.Popen([tmp_path / "git", "100"], cwd=tree) as holder:
        try:
            eventually(lambda: Path(f"/proc/{holder.pid}/comm").read_text(encoding="utf-8").startswith("git"))
            assert not free_index(tree)
        finally:
            holder.kill()

    assert lock.exists()


@proves("GROUND-004", "R-4")
async def test_a_deleted_worktree_comes_back_from_its_branch_with_the_commits_of_the_agent(
    tmp_path: Path,
) -> None:
    async with with_worktree(tmp_path) as inc:
        inc.spec = _on_branch(inc.spec)
        await blocking.act("file", _commit_and_delete, inc.path)
        assert not await is_there(inc)

        said = await rebuild(inc)

        assert await is_there(inc)
        assert await anyio.Path(inc.path / "work").read_text(encoding="utf-8") == "done\n"
        assert "from its branch" in said


@proves("GROUND-005", "R-1")
async def test_files_that_lost_their_git_are_moved_aside_never_overwritten(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        inc.spec = _on_branch(inc.spec)
        await blocking.act("file", work_on, inc.path)
        await anyio.Path(inc.path / ".git").unlink()

        said = await rebuild(inc)

        (aside,) = [path async for path in anyio.Path(inc.path.parent).glob("otter.lost-*")]
        assert aside.name in said
        assert await (aside / "new" / "file").read_text(encoding="utf-8") == "untracked\n"
        assert await is_there(inc)


def _on_branch(spec: AgentSpec) -> AgentSpec:
    return replace(spec, workspace=replace(spec.workspace, branch="otter"))


def _commit_and_delete(tree: Path) -> None:
    write(tree, {"work": "done\n"})
    git(tree, "add", "work")
    git(tree, "commit", "-q", "-m", "work")
    shutil.rmtree(tree)
