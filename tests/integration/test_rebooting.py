"""The way back after a restart of the machine, and those who must keep out of it."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.errors import IllegalTransition
from envmgr.model.agent import Desired, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.model.incident import Rung
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.model.stimulus import SpawnFailed, SpawnSucceeded, StopSucceeded
from envmgr.protocols.assistant import Report
from envmgr.protocols.keepers import Keeper
from envmgr.runtime import conversation
from envmgr.runtime.actor import Actor
from envmgr.runtime.ends import Ends
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.rebooting import Rebooting
from envmgr.runtime.standing import Standings
from envmgr.runtime.steps.services import StartServices, stop_services
from tests.support.incarnations import incarnation
from tests.support.keepers import lives, record_of
from tests.support.reboots import OTHER_BOOT
from tests.support.recovering import LIMITS, QUICK, Lab, daemon
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


async def with_an_open_incident(inc: Incarnation) -> None:
    """An earlier daemon, which saw the assistant die and was to do nothing about it."""
    inc.spec = replace(inc.spec, recovery=QUICK)
    async with daemon(inc, limits=replace(LIMITS, is_on=False)) as lab:
        await lab.assistant_dies()
        await lab.until_waiting()


@asynccontextmanager
async def after_a_reboot(inc: Incarnation) -> AsyncIterator[tuple[Lab, Rebooting]]:
    """The first daemon afterwards, before it brings anybody back."""
    await inc.systems.store.write(lambda tx: tx.put("boot", "the one before"))
    async with daemon(inc) as lab:
        lab.actor.restoring = "waits for its turn"  # before the conductor's first look, as daemons do
        rebooting = Rebooting(lab.supervisor, boot="this one", over=lab.conductor.over)
        await rebooting.mark()
        yield lab, rebooting


async def comes_back(lab: Lab, rebooting: Rebooting) -> None:
    """Stop plan and spawn go well."""
    before = lab.actor.state.generation
    async with anyio.create_task_group() as group:
        group.start_soon(rebooting.run)
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.STOPPING)
        await lab.supervisor.apply(lab.actor, StopSucceeded(generation=before))
        await async_eventually(lambda: lab.actor.state.lifecycle is Lifecycle.SPAWNING)
        await lab.supervisor.apply(lab.actor, SpawnSucceeded(generation=before + 1, holds=frozenset()))


@proves("REBOOT-004")
async def test_nothing_is_recovered_that_waits_to_be_brought_back(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        await with_an_open_incident(inc)
        async with after_a_reboot(inc) as (lab, rebooting):
            for _ in range(3):
                lab.conductor.report(lab.actor, lab.death())
                await lab.conductor.look()
            with pytest.raises(IllegalTransition, match="being brought back"):
                await lab.conductor.by_hand.recover(lab.actor, Rung.SESSION, cause="a person")
            assert (lab.actor.state.lifecycle, lab.actor.state.rung) == (Lifecycle.RUNNING, None)

            await comes_back(lab, rebooting)
            await lab.conductor.look()

            assert (lab.actor.state.lifecycle, lab.actor.state.generation) == (Lifecycle.RUNNING, 2)
            assert lab.measures.taken == []
            assert (await lab.incident()).closed_at is not None


@proves("REBOOT-001", "R-31")
async def test_who_waited_for_a_person_is_brought_back_as_well(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        inc.spec = replace(inc.spec, recovery=replace(QUICK, rungs=()))
        async with daemon(inc) as lab:
            await lab.assistant_dies()
            await lab.until_rung(Rung.PERSON)

        async with after_a_reboot(inc) as (lab, rebooting):
            await comes_back(lab, rebooting)

            assert (lab.actor.state.lifecycle, lab.actor.state.generation) == (Lifecycle.RUNNING, 2)
            assert lab.actor.state.conditions == ()
            assert (await lab.incident()).closed_at is not None


@proves("REBOOT-001", "REBOOT-003")
async def test_a_respawn_that_the_reboot_cut_off_ends_in_a_running_agent(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        (known,) = await inc.systems.store.read(lambda tx: tx.agents())
        half = replace(
            known.state,
            generation=2,
            lifecycle=Lifecycle.SPAWNING,
            desired=Desired.RUNNING,
            rung=Rung.RESPAWN,
            incident=1,
        )
        await inc.systems.store.write(lambda tx: tx.save_state(half, expect=known.version))
        told = Report(activity=None, detail="", prompt="work")
        await conversation.hear(inc, told)  # the assistant that the reboot ended

        async with after_a_reboot(inc) as (lab, rebooting):
            failed = SpawnFailed(generation=2, step="assistant", reason="the daemon was ended")
            await lab.supervisor.apply(lab.actor, failed)  # as a spawn ends that was cut off
            async with anyio.create_task_group() as group:
                group.start_soon(rebooting.run)
                await async_eventually(lambda: lab.actor.state.generation == 3)
                await lab.supervisor.apply(lab.actor, SpawnSucceeded(generation=3, holds=frozenset()))

            assert lab.actor.state.lifecycle is Lifecycle.RUNNING
            assert await conversation.resending(inc) == "work"


class Eyes:
    """Who would mend a keeper."""

    def __init__(self) -> None:
        self.losses = 0

    def gone(self, actor: Actor, inc: Incarnation) -> None:
        self.losses += 1

    async def attend(self, actor: Actor, inc: Incarnation, keeper: Keeper) -> None:
        raise AssertionError("it does not live")

    async def silent(self, actor: Actor, inc: Incarnation) -> None:
        raise AssertionError("it does not live")


@proves("REBOOT-001", "KEEPERDOWN-001")
@pytest.mark.parametrize(("is_of_before", "losses"), [(True, 0), (False, 1)])
async def test_a_keeper_of_before_the_machine_was_restarted_is_no_loss(
    tmp_path: Path,
    is_of_before: bool,  # noqa: FBT001 - a parameter of the test
    losses: int,
) -> None:
    web = ServiceSpec(name="web", kind=ServiceKind.PROCESS, command="exec sleep 300")
    async with incarnation(tmp_path, web, agent=AgentId(secrets.token_hex(4))) as inc:
        await StartServices(inc, lambda *_: None).do()
        try:
            supervisor, actor = await take_over(inc)
            record, file = await record_of(inc.home), inc.home / "keeper.json"
            os.kill(record.identity.pid, signal.SIGKILL)
            await async_eventually(lambda: not lives(record.identity))
            text = file.read_text(encoding="utf-8")
            if is_of_before:
                file.write_text(text.replace(record.identity.boot_id, OTHER_BOOT), encoding="utf-8")
            eyes = Eyes()

            async with anyio.create_task_group() as group:
                Ends(Standings(supervisor), actor, inc, {}, on_end=unheard_end, keepers=eyes).follow(group)

            assert eyes.losses == losses
        finally:
            file.write_text(text, encoding="utf-8")  # so that what is left is found
            await stop_services(inc)


def unheard_end(*_: object) -> None:
    """Of no interest here."""
