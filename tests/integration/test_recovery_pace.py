"""What an agent costs that waits: it is looked at calmly, and at once when it may have to wait no longer."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.model.ids import AgentId
from envmgr.model.incident import FailureClass, Part, Rung, Symptom
from tests.support.recovering import LIMITS, QUICK, Lab, recovering
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

CALM = replace(LIMITS, look_s=600.0)


class Overloaded:
    """A host that is overloaded whenever it is asked, and knows how often it was."""

    def __init__(self) -> None:
        self.questions = 0

    async def look(self) -> str:
        self.questions += 1
        return "overload"


def strained() -> Symptom:
    return Symptom(part=Part.HOST, words="the host is overloaded", at=time.time(), host_is_strained=True)


async def waiting(lab: Lab) -> Overloaded:
    """An incident that waits until the host is well."""
    pulse = Overloaded()
    lab.supervisor.pulse = pulse  # type: ignore[assignment]  # asked for nothing else
    lab.conductor.report(lab.actor, strained())
    await lab.until_waiting()
    await lab.conductor.look()
    return pulse


@proves("RECOVER-031")
async def test_what_waits_is_not_asked_about_at_each_look_however_often_it_is_said(tmp_path: Path) -> None:
    async with recovering(tmp_path, limits=CALM) as lab:
        pulse = await waiting(lab)
        asked = pulse.questions
        for _ in range(20):
            lab.conductor.report(lab.actor, strained())
            await lab.conductor.look()

        assert pulse.questions == asked


@proves("RECOVER-031")
async def test_what_waits_is_looked_at_at_once_when_something_has_changed(tmp_path: Path) -> None:
    async with recovering(tmp_path, limits=CALM) as lab:
        pulse = await waiting(lab)
        asked = pulse.questions
        lab.conductor.wake()
        await async_eventually(lambda: pulse.questions > asked)
        await lab.conductor.look()
        asked = pulse.questions
        await lab.conductor.gate.noticed(AgentId("another"), FailureClass.MEMORY)
        await lab.conductor.look()

        assert pulse.questions > asked


@proves("RECOVER-031")
async def test_what_a_person_was_asked_about_is_not_written_down_each_time_it_is_said(tmp_path: Path) -> None:
    async with recovering(tmp_path, policy=replace(QUICK, rungs=())) as lab:
        await lab.assistant_dies()
        await lab.until_rung(Rung.PERSON)
        before = await lab.incident()
        for _ in range(3):
            lab.conductor.report(lab.actor, lab.death())
            await lab.conductor.look()

        assert await lab.incident() == before
