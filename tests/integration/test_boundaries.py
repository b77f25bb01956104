"""Whatever one task of the daemon stumbles over, the daemon and its other tasks go on."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.aio import blocking, tasks
from envmgr.drivers.git.workspaces import GitWorkspaces
from envmgr.errors import NotFound, Unobservable
from envmgr.model.agent import Lifecycle
from envmgr.protocols.workspaces import Repository
from envmgr.runtime.archiving.keeping import Archive, Keep
from envmgr.runtime.recovery.ground import GroundWatch
from envmgr.runtime.reporting import unheard
from tests.support.requirements import ROOT, proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually
from tests.support.worktrees import with_worktree

pytestmark = pytest.mark.anyio


@proves("BOUNDARY-001")
@pytest.mark.parametrize("error", [RuntimeError("bug"), NotFound("no", hint="none")], ids=["bug", "ours"])
async def test_a_task_that_fails_ends_nobody_else(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(word: str) -> None:
        raise error

    others = anyio.Event()
    async with anyio.create_task_group() as group:
        tasks.start(group, "an attempt", fail, "now")
        await async_eventually(lambda: "an attempt failed" in caplog.text)
        others.set()

    assert others.is_set()


@proves("BOUNDARY-001")
async def test_a_loop_that_fails_begins_anew_and_one_that_returns_is_over() -> None:
    turns: list[int] = []

    async def loop() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise RuntimeError("bug")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            tasks.keep(group, "a loop", loop)

    assert len(turns) == 2


# Here who opens the group hands it on to parts of his own, and has a boundary around all of it.
_OPENED_BY_THEIR_CALLERS = {"runtime/ends.py", "runtime/probing.py", "runtime/watching.py"}


@proves("BOUNDARY-001")
def test_nothing_is_begun_without_a_boundary_in_a_group_that_others_have_opened() -> None:
    package = ROOT / "envmgr"
    paths = [*(package / "runtime").rglob("*.py"), *(package / "bootstrap").rglob("*.py")]

    bare = {
        f"{name}:{call.lineno}"
        for path in paths
        if (name := str(path.relative_to(package))) not in _OPENED_BY_THEIR_CALLERS
        for call in _bare(ast.parse(path.read_text(encoding="utf-8")))
    }

    assert bare == set()


def _bare(node: ast.AST, own: frozenset[str] = frozenset()) -> Iterator[ast.Call]:
    """Calls of `start_soon` of groups that the function around them has not opened itself; the daemon's own counts as others'."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        own = own | _opened(node) if node.name != "daemon" else frozenset()
    match node:
        case ast.Call(func=ast.Attribute(attr="start_soon", value=group)) if ast.unparse(group) not in own:
            yield node
    for child in ast.iter_child_nodes(node):
        yield from _bare(child, own)


def _opened(function: ast.AST) -> frozenset[str]:
    return frozenset(
        ast.unparse(item.optional_vars)
        for node in ast.walk(function)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if item.optional_vars is not None and "create_task_group" in ast.unparse(item.context_expr)
    )


class _SilentGit(GitWorkspaces):
    """As behind a dead mount."""

    async def find(self, path: Path) -> Repository:
        raise Unobservable("git did not answer within 5 s", hint="Wait.")


class _BrokenGit(GitWorkspaces):
    """A case that nobody has thought of."""

    async def find(self, path: Path) -> Repository:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


@proves("BOUNDARY-002")
@pytest.mark.parametrize("git", [_SilentGit, _BrokenGit])
async def test_worktrees_are_looked_at_again_after_git_was_silent(
    tmp_path: Path, git: type[GitWorkspaces]
) -> None:
    async with with_worktree(tmp_path) as inc, anyio.create_task_group() as group:
        supervisor, actor = await take_over(inc)
        well = supervisor.systems
        supervisor.systems = replace(well, workspaces=git(tmp_path / "other"))
        watch = GroundWatch(supervisor, unheard, period_s=0.01)
        group.start_soon(watch.run)
        await watch.look()
        assert actor.incarnation is None

        supervisor.systems = well

        await async_eventually(lambda: actor.incarnation is not None)
        group.cancel_scope.cancel()


@proves("BOUNDARY-002")
@pytest.mark.parametrize("git", [_SilentGit, _BrokenGit])
async def test_a_session_that_cannot_be_archived_now_does_not_end_the_daemon(
    tmp_path: Path, git: type[GitWorkspaces], caplog: pytest.LogCaptureFixture
) -> None:
    async with with_worktree(tmp_path) as inc:
        supervisor, actor = await take_over(inc, Lifecycle.STOPPED)
        supervisor.systems = replace(supervisor.systems, workspaces=git(tmp_path / "other"))

        async with anyio.create_task_group() as group:
            Archive(supervisor, group, Keep()).ended(actor)

        assert "archiving failed" in caplog.text


@proves("BOUNDARY-003")
async def test_looks_at_what_hangs_take_one_thread_and_none_more() -> None:
    gate, calls = threading.Event(), list[int]()

    def hang() -> bool:
        calls.append(1)
        return gate.wait(30)

    for _ in range(5):
        with pytest.raises(Unobservable):
            await blocking.look_again("it", "file", 0.05, hang)
    assert len(calls) == 1

    gate.set()
    assert await async_eventually(lambda: _answers("it"))


async def _answers(key: str) -> bool:
    try:
        return await blocking.look_again(key, "file", 5.0, lambda: True)
    except Unobservable:
        return False


@proves("BOUNDARY-003")
async def test_looks_side_by_side_do_not_hinder_each_other() -> None:
    both = threading.Barrier(2)
    places: list[int] = []

    async def look() -> None:
        places.append(await blocking.look_again("side", "file", 10.0, both.wait))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        group.start_soon(look)

    assert sorted(places) == [0, 1]
