"""What the supervisor and the watch over services keep in memory of one agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import anyio
import pytest

from envmgr.core.restart import History
from envmgr.model.observe import Present, ProcessIdentity, Seen
from envmgr.model.service import Rate, RestartPolicy, ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held, Keeper, Keepers
from envmgr.runtime import restart_history
from envmgr.runtime.control import Control
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.restarting import Restarts
from envmgr.runtime.settling import Act, Moves, Settling
from envmgr.runtime.steps.services import stop_services
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


@proves("LIFE-014")
async def test_all_who_ask_at_once_get_the_same_generation(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        supervisor, actor = await take_over(inc)
        found: list[Incarnation] = []

        async def ask() -> None:
            found.append(await supervisor.incarnation(actor))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        assert [one is found[0] for one in found] == [True, True, True]


def held(service: str, launch: int, *, log: Path, ended_at: float | None = None) -> Held:
    return Held(
        service=service, generation=1, launch=launch, identity=ProcessIdentity(pid=1, start_ticks=1, boot_id=""),
        started_at=10.0 * launch, ended_at=ended_at, exit_code=None if ended_at is None else 1,
        exit_signal=None, error="", log=log, log_offset=0,
    )  # fmt: skip


class Telling:
    """A keeper that is always found, and what it tells."""

    def __init__(self, *said: Held) -> None:
        self._said = said

    async def find(self, home: Path, *, owner: str) -> Seen[Keeper]:
        return Present(cast("Keeper", self))

    async def changes(self) -> AsyncIterator[Held]:
        for one in self._said:
            yield one
        await anyio.sleep_forever()


def service(name: str) -> ServiceSpec:
    return ServiceSpec(name=name, kind=ServiceKind.PROCESS, command="exec sleep 600")


@proves("LIFE-015")
async def test_the_end_of_an_earlier_launch_says_nothing_about_the_present_one(tmp_path: Path) -> None:
    said = (
        held("api", 2, log=tmp_path),
        held("api", 1, log=tmp_path, ended_at=19.0),
        held("web", 1, log=tmp_path),
    )
    async with (
        incarnation(tmp_path, service("api"), service("web")) as inc,
        anyio.create_task_group() as group,
    ):
        inc.systems = replace(inc.systems, keepers=cast("Keepers", Telling(*said)))
        supervisor, actor = await take_over(inc)
        health, ends = Health(supervisor, group), []
        health.on_end = lambda actor, inc, unit, held, ready_s: ends.append(unit.name)
        health.watch(actor, inc)
        await async_eventually(lambda: "web" in actor.services)
        assert (actor.services["api"].state, ends) == (ServiceState.READY, [])
        group.cancel_scope.cancel()


@proves("RESTART-009")
async def test_a_unit_that_was_started_anew_on_purpose_has_been_ready_only_since_then(tmp_path: Path) -> None:
    async with incarnation(tmp_path, service("api")) as inc, anyio.create_task_group() as group:
        supervisor, actor = await take_over(inc)
        health = Health(supervisor, group)
        moved_at = inc.systems.now()
        actor.services["api"], actor.ready_since["api"] = Outcome(state=ServiceState.READY), moved_at - 600.0
        moves = Moves(restart=("api",))
        with anyio.fail_after(20):
            done = await Settling(actor, inc, moves, health, secrets={}).run(inc)
        assert [one.act for one in done] == [Act.RESTARTED]
        assert actor.ready_since["api"] >= moved_at
        await stop_services(inc)
        group.cancel_scope.cancel()


@proves("RESTART-010")
async def test_a_new_daemon_does_not_try_again_what_the_one_before_gave_up(tmp_path: Path) -> None:
    policy = RestartPolicy(initial_s=0.01, budget=Rate(count=1, window_s=600.0))
    unit, ended = replace(service("api"), restart=policy), held("api", 3, log=tmp_path, ended_at=31.0)
    async with incarnation(tmp_path, unit) as inc:
        now = inc.systems.now()
        past = History(restarts=(now - 1.0,), attempt=1)
        await inc.systems.store.write(lambda tx: restart_history.write(tx, inc.id, "api", past))
        for at in (now, now + 3600.0):
            inc.systems = replace(inc.systems, now=partial(float, at))
            supervisor, actor = await take_over(inc)
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    control = Control(supervisor, Health(supervisor, group), group)
                    Restarts(supervisor, control, group).ended(actor, inc, unit, ended, 0.0)
        told = [event.kind for event in await inc.systems.store.read(lambda tx: tx.events())]
    assert told == ["service.gave_up"]
