"""What the reaper must not touch although much speaks for it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from envmgr.core.reaping import Policy, judge
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.lease import PortLease
from envmgr.model.observe import Present, Seen
from envmgr.model.resource import Sighting, Verdict
from envmgr.protocols.engine import Container, Engine, Labels
from envmgr.protocols.workspaces import Claimed
from envmgr.runtime.reaping.engine import Containers
from envmgr.runtime.reaping.files import Files
from envmgr.runtime.reaping.ground import Ground, records, survey
from envmgr.runtime.reaping.ports import Ports
from envmgr.runtime.supervisor import Supervisor
from tests.support.incarnations import POOL, incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over

pytestmark = pytest.mark.anyio


async def _leases(supervisor: Supervisor, *ports: int) -> tuple[Ground, dict[int, Sighting]]:
    """All held by the only agent."""
    (actor,) = supervisor.actors()
    held = [
        PortLease(agent=actor.state.id, service=f"s{port}", name="main", port=port, block=ports[0])
        for port in ports
    ]
    await supervisor.systems.store.write(lambda tx: tx.save_leases(held))
    ground = await survey(supervisor, Policy())
    return ground, {int(seen.name.partition(" ")[0]): seen for seen in await Ports().look(ground)}


async def _held(supervisor: Supervisor) -> list[int]:
    return [one.port for one in await supervisor.systems.store.read(lambda tx: tx.leases()) if one.held]


@proves("REAP-019")
async def test_an_orphaned_lease_goes_alone_and_one_that_is_bound_stays(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, _ = await take_over(inc, Lifecycle.STOPPED)
        first = POOL.first
        with closing(socket.socket()) as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            taken = int(bound.getsockname()[1])
            ground, seen = await _leases(supervisor, first, taken)

            await Ports().remove(seen[first], ground)
            assert await _held(supervisor) == [taken]
            with pytest.raises(EnvmgrError, match="still bound"):
                await Ports().remove(seen[taken], ground)

        assert await _held(supervisor) == [taken]


@proves("REAP-019")
@pytest.mark.parametrize("lifecycle", [Lifecycle.SPAWNING, Lifecycle.RUNNING])
async def test_leases_of_an_agent_that_was_started_since_stay(tmp_path: Path, lifecycle: Lifecycle) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, _ = await take_over(inc, Lifecycle.STOPPED)
        ground, seen = await _leases(supervisor, POOL.first)
        (known,) = await inc.systems.store.read(lambda tx: tx.agents())
        started = replace(known.state, lifecycle=lifecycle)
        await inc.systems.store.write(lambda tx: tx.save_state(started, expect=known.version))

        with pytest.raises(EnvmgrError, match="is back"):
            await Ports().remove(seen[POOL.first], ground)

        assert await _held(supervisor) == [POOL.first]


class _OneContainer:
    """An engine where somebody works by a container in a worktree."""

    def __init__(self, worktree: Path) -> None:
        self._it = Container(
            id="c1", name="devcontainer", image="dev", labels={}, state="running", sources=(str(worktree),)
        )

    async def knock(self) -> Seen[None]:
        return Present(None)

    async def containers(self, labels: Labels) -> Seen[Sequence[Container]]:
        return Present([])

    async def mounting(self, source: str) -> Seen[Sequence[Container]]:
        return Present([self._it])


@proves("REAP-020")
async def test_a_container_that_only_mounts_the_worktree_of_an_agent_that_is_gone_is_for_a_person(
    tmp_path: Path,
) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, _ = await take_over(inc, Lifecycle.STOPPED)
        tree = tmp_path / "trees" / "gone"
        left = Claimed(path=tree, owner=f"{inc.instance}/gone0000", common_dir=tmp_path, made_at=0.0)
        engine = cast("Engine", _OneContainer(tree))
        ground = await survey(supervisor, Policy())
        ground = replace(ground, claims=(left,), systems=replace(ground.systems, engine=engine))

        (seen,) = await Containers().look(ground)
        judged = judge(seen, await records(supervisor, {seen.agent}), Policy())

        assert judged.verdict is Verdict.ORPHAN
        assert (judged.is_removable, judged.is_quarantined) == (False, True)
        assert seen.advice == "docker rm -f -v devcontainer"


@proves("REAP-020")
async def test_sockets_of_agents_that_are_up_are_not_knocked_at(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, _ = await take_over(inc, Lifecycle.RUNNING)
        inc.home.mkdir(parents=True, exist_ok=True)
        with closing(socket.socket(socket.AF_UNIX)) as database:
            database.bind(str(inc.home / "db.sock"))
            database.listen()
            database.settimeout(0.0)

            await Files().look(await survey(supervisor, Policy()))

            with pytest.raises(BlockingIOError):
                database.accept()
