"""Incidents outlive their agents, and are found by the name these had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from envmgr.model.ids import AgentId
from envmgr.model.incident import Diagnosis, FailureClass, Incident, Part, Rung
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


def incident(agent: str, at: float) -> Incident:
    return Incident(
        agent=AgentId(f"{agent}-id"),
        name=agent,
        generation=1,
        part=Part.ASSISTANT,
        subject="",
        words="it ended",
        diagnosis=Diagnosis(
            failure=FailureClass.ASSISTANT, entry=Rung.SESSION, confidence=1.0, evidence=(), fingerprint="x"
        ),
        opened_at=at,
    )


@proves("RECOVER-013")
@pytest.mark.parametrize("reference", ["otter", "otter-id"])
async def test_the_incidents_of_one_agent_are_counted_before_they_are_cut_off(
    tmp_path: Path, reference: str
) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    for number, agent in enumerate(["otter", "otter", *["badger"] * 5]):
        one = incident(agent, float(number + 1))
        await store.write(lambda tx, one=one: tx.add_incident(one))  # type: ignore[misc]
    found: Sequence[Incident] = await store.read(lambda tx: tx.incidents(agent=reference, limit=3))
    await store.close()

    assert [(one.name, one.opened_at) for one in found] == [("otter", 2.0), ("otter", 1.0)]
