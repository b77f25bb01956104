"""Restart policies over real processes: what counts as an end, what is tried, and what the ladder is told."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from envmgr.core.classify import diagnose
from envmgr.core.restart import Again, End, History, StaysDown, after_end
from envmgr.model.incident import FailureClass, Part, Symptom
from envmgr.model.probe import ExecProbe, Readiness
from envmgr.model.service import (
    Condition,
    Dependency,
    PortSpec,
    Rate,
    RestartPolicy,
    RestartWhen,
    ServiceKind,
    ServiceSpec,
    ServiceState,
)
from envmgr.runtime import restart_history, symptoms
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.restarting import Restarts
from envmgr.runtime.runners import hire
from envmgr.runtime.steps.services import stop_services
from tests.support.git import git, make_repository
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

QUICK = RestartPolicy(initial_s=0.05, max_s=0.1, jitter=0.0, budget=Rate(count=2, window_s=600.0))
SLEEPS = "exec sleep 600"


@dataclass
class Daemon:
    """What a daemon has around one running agent, and what its ladder was told."""

    inc: Incarnation
    actor: Actor
    control: Control
    health: Health
    reported: list[Symptom] = field(default_factory=list)
    restarted: list[Symptom] = field(default_factory=list)

    async def begin(self, *names: str) -> None:
        """Start units and watch them."""
        await self.control.restart(self.actor, names)

    async def events(self, kind: str) -> list[Any]:
        """What was recorded of a kind."""
        found = await self.inc.systems.store.read(lambda tx: tx.events())
        return [event.data for event in found if event.kind == kind]

    async def pid(self, unit: str = "api") -> int:
        """Of its main process."""
        held = (await (await hire(self.inc)).of(self.inc.service(unit)).status())[unit]
        assert held.identity is not None
        return held.identity.pid


@asynccontextmanager
async def daemon(inc: Incarnation) -> AsyncIterator[Daemon]:
    """As `bootstrap` puts it together; on leaving the services are stopped."""
    supervisor, actor = await take_over(inc)
    actor.incarnation = inc
    async with anyio.create_task_group() as group:
        health = Health(supervisor, group)
        control = Control(supervisor, health, group)
        here = Daemon(inc=inc, actor=actor, control=control, health=health)
        restarts = Restarts(
            supervisor,
            control,
            group,
            report=lambda actor, symptom: here.reported.append(symptom),
            restarted=lambda actor, symptom: here.restarted.append(symptom),
        )
        health.on_end, health.on_hang = restarts.ended, restarts.hung
        try:
            yield here
        finally:
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await stop_services(inc)


def service(command: str = SLEEPS, *, name: str = "api", **more: Any) -> ServiceSpec:  # fields of ServiceSpec
    return ServiceSpec(name=name, kind=ServiceKind.PROCESS, command=command, **{"restart": QUICK, **more})


# --- what is done --------------------------------------------------------------------------------------------


@proves("RESTART-011")
async def test_an_empty_budget_goes_to_the_ladder_with_the_last_words(tmp_path: Path) -> None:
    dies = service("sleep 0.3; echo token=abcdef123; echo Error: no table; exit 1")
    async with incarnation(tmp_path, dies) as inc, daemon(inc) as here:
        await here.begin("api")
        await async_eventually(lambda: here.reported)
        assert [one.is_exhausted for one in here.restarted] == [False, False]
        (given_up,) = here.reported
        assert (given_up.is_exhausted, given_up.exit_code) == (True, 1)
        assert given_up.output == ("token=********", "Error: no table")
        assert diagnose(given_up).failure is FailureClass.CRASH
        (told,) = await here.events("service.gave_up")
        assert told["reason"] == "it ended with status 1, and was restarted 2 times in 10 min already"


@proves("RESTART-011")
@pytest.mark.parametrize(
    ("policy", "command", "codes"),
    [
        (replace(QUICK, when=RestartWhen.NEVER), "sleep 0.3; exit 1", (0,)),
        (QUICK, "sleep 0.3; exit 3", (0, 3)),
    ],
)
async def test_an_end_that_may_be_is_followed_by_nothing(
    tmp_path: Path, policy: RestartPolicy, command: str, codes: tuple[int, ...]
) -> None:
    unit = service(command, restart=policy, success_exit_codes=codes)
    async with incarnation(tmp_path, unit) as inc, daemon(inc) as here:
        await here.begin("api")
        await async_eventually(lambda: here.actor.services["api"].state is ServiceState.FAILED)
        await async_eventually(lambda: "api" in here.actor.ends and not here.actor.pending)
        assert (here.reported, here.restarted) == ([], [])
        assert await here.events("service.restarting") == []


@proves("RESTART-012")
async def test_a_start_that_never_gets_ready_counts_as_an_end(tmp_path: Path) -> None:
    ready = Readiness(probe=ExecProbe(command="test -e ok"), deadline_s=0.4)
    async with incarnation(tmp_path, service(ready=ready)) as inc, daemon(inc) as here:
        ok = inc.path / "ok"
        ok.touch()
        await here.begin("api")
        ok.unlink()
        os.kill(await here.pid(), signal.SIGKILL)
        await async_eventually(lambda: here.reported, within_s=20)
        assert [one["attempt"] for one in await here.events("service.restarting")] == [1, 2]
        assert here.reported[-1].is_exhausted
        assert "was not ready within 0.4 s" in here.reported[-1].words
        assert diagnose(here.reported[-1]).failure is FailureClass.HANG


@proves("RESTART-013")
async def test_what_a_restart_cannot_mend_is_told_at_once(tmp_path: Path) -> None:
    unit = service("sleep 0.4; exit 1", ports=(PortSpec(name="http"),))
    async with incarnation(tmp_path, unit) as inc, daemon(inc) as here:
        await claim_ports(inc)
        await here.begin("api")
        with socket.create_server(("127.0.0.1", inc.port("api", "http"))):
            await async_eventually(lambda: here.reported)
        (conflict,) = here.reported
        assert f"pid {os.getpid()}" in conflict.foreign
        assert diagnose(conflict).failure is FailureClass.PORT_CONFLICT
        assert await here.events("service.restarting") == []


@proves("RESTART-013")
async def test_an_end_for_want_of_a_dependency_costs_nothing_and_is_left_to_the_ladder(
    tmp_path: Path,
) -> None:
    edge = Dependency(service="db", condition=Condition.STARTED)
    api, db = service(depends_on=(edge,)), service(name="db", restart=None)
    async with incarnation(tmp_path, db, api) as inc, daemon(inc) as here:
        await here.begin("db", "api")
        victims = await here.pid("db"), await here.pid("api")
        os.kill(victims[0], signal.SIGKILL)
        await async_eventually(lambda: here.actor.services["db"].state is ServiceState.FAILED)
        os.kill(victims[1], signal.SIGKILL)
        await async_eventually(lambda: len(here.reported) == 2)
        assert {one.subject: one.waits_for for one in here.reported} == {"db": "", "api": "db"}
        assert await here.events("service.restarting") == []


@proves("RESTART-014")
async def test_an_end_that_was_counted_is_not_counted_again_by_the_next_daemon(tmp_path: Path) -> None:
    slow = replace(QUICK, initial_s=5.0, max_s=5.0)
    async with incarnation(tmp_path, service(restart=slow)) as inc:
        async with daemon(inc) as here:
            await here.begin("api")
            os.kill(await here.pid(), signal.SIGKILL)
            await async_eventually(lambda: here.restarted)
            (ended,) = here.actor.ends.values()
            before = await inc.systems.store.read(lambda tx: restart_history.read(tx, inc.id, "api"))
            held = (await (await hire(inc)).of(inc.service("api")).status())["api"]
            supervisor, actor = await take_over(inc)
            async with anyio.create_task_group() as group:
                restarts = Restarts(supervisor, here.control, group)
                restarts.ended(actor, inc, inc.service("api"), held, 0.0)
                await async_eventually(lambda: "api" in actor.pending)
                await async_eventually(lambda: _told_twice(here))
                group.cancel_scope.cancel()
        after = await inc.systems.store.read(lambda tx: restart_history.read(tx, inc.id, "api"))
        assert ended == (1, held.launch)
        assert after == before
        assert (len(after.restarts), after.attempt) == (1, 1)


async def _told_twice(here: Daemon) -> bool:
    told = await here.events("service.restarting")
    assert all(one["after_s"] <= 5.0 for one in told)
    return len(told) == 2


@proves("RESTART-015", "STEADY-001")
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
async def test_a_wall_clock_that_jumps_neither_refills_a_budget_nor_stalls_a_back_off(
    tmp_path: Path, jump_s: float
) -> None:
    async with incarnation(tmp_path, service()) as inc:
        real = inc.systems.now
        async with daemon(inc) as here:
            await here.begin("api")
            for launch in range(2):
                os.kill(await here.pid(), signal.SIGKILL)
                inc.systems = replace(inc.systems, now=partial(_jumped, real, (launch + 1) * jump_s))
                await async_eventually(partial(_back, here, launch + 1))
            os.kill(await here.pid(), signal.SIGKILL)
            await async_eventually(lambda: here.reported)
            assert [one["attempt"] for one in await here.events("service.restarting")] == [1, 2]


def _jumped(clock: Any, by_s: float) -> float:
    return float(clock() + by_s)


async def _back(here: Daemon, times: int) -> bool:
    finished = await here.events("change.finished")
    return len(finished) == times + 1 and here.actor.services["api"].state is ServiceState.READY


@proves("RESTART-015")
async def test_restarts_in_the_future_count_for_their_window_and_no_longer() -> None:
    policy = replace(QUICK, budget=Rate(count=1, window_s=10.0))
    end = End(is_success=False, is_fatal=False, ready_s=0.0, words="ended")
    ahead = History(restarts=(9999.0,), attempt=1)
    assert isinstance(after_end(policy, ahead, end, now=100.0, draw=0.0), StaysDown)
    known = replace(ahead, restarts=(100.0,))
    assert isinstance(after_end(policy, known, end, now=111.0, draw=0.0), Again)


@proves("RESTART-016")
async def test_twenty_who_ask_for_the_same_restart_at_once_get_one_process(tmp_path: Path) -> None:
    async with incarnation(tmp_path, service()) as inc, daemon(inc) as here:
        await here.begin("api")
        before, done = await here.pid(), []

        async def ask() -> None:
            done.append(await here.control.restart(here.actor, ["api"]))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
        assert len(done) == 20
        assert len(await here.events("change.started")) == 2  # the first start, and one for all of them
        assert await here.pid() != before
        assert len(_members(inc)) == 1


def _members(inc: Incarnation) -> Sequence[int]:
    """Who works in the agent's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == inc.path:
                found.append(int(entry.name))
    return found


# --- what is seen --------------------------------------------------------------------------------------------


@proves("CLASS-007")
async def test_a_symptom_tells_whether_the_source_is_being_edited(tmp_path: Path) -> None:
    async with incarnation(tmp_path, service()) as inc:
        assert inc.worktree is not None
        repo, tree = make_repository(tmp_path / "repo", {".gitignore": "build\n", "app.py": "1"}), inc.path
        git(repo, "worktree", "add", "-q", "-b", "otter", str(tree))
        inc.worktree = replace(inc.worktree, base=git(tree, "rev-parse", "HEAD").strip())
        old = inc.systems.now() - 600

        async def is_mid_edit() -> bool:
            symptom = Symptom(part=Part.SERVICE, words="x", at=0.0)
            return (await symptoms.with_edits(symptom, inc)).is_mid_edit

        assert not await is_mid_edit()
        (tree / "build").write_text("made by the service", encoding="utf-8")
        assert not await is_mid_edit()
        (tree / "app.py").write_text("edited", encoding="utf-8")
        assert await is_mid_edit()
        os.utime(tree / "app.py", (old, old))
        assert not await is_mid_edit()
        git(tree, "commit", "-q", "-a", "-m", "second")
        assert await is_mid_edit()
