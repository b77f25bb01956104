"""What a transaction keeps, through the public `write` and `read` of a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from envmgr.errors import Conflict, StaleState
from envmgr.model.agent import Activity, Lifecycle
from envmgr.model.effect import Effect, EffectKind
from envmgr.model.event import Event, NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.lease import PortLease, StepRecord, StepState, Tombstone
from envmgr.protocols.store import AgentRecord, OwedEffect, Snapshot, Store, Transaction
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import proves
from tests.support.specs import record

pytestmark = pytest.mark.anyio

RED, BLUE = record("red"), record("blue")
RED_ID, BLUE_ID = RED.state.id, BLUE.state.id
SPAWN = Effect(kind=EffectKind.SPAWN, generation=1)
WEB = PortLease(agent=RED_ID, service="web", name="main", port=20000, block=20000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await SqliteStore.open(tmp_path / "state.db")
    yield store
    await store.close()


def _tell(tx: Transaction, *, at: float, agent: str = "") -> int:
    return tx.append(NewEvent(kind="k", agent=agent), at=at)


def _moments(events: Sequence[Event]) -> list[float]:
    return [event.at for event in events]


def _insert_both(tx: Transaction) -> None:
    tx.insert_agent(replace(RED, created_at=2.0))
    tx.insert_agent(replace(BLUE, created_at=1.0))


async def test_agents_are_listed_oldest_first(store: Store) -> None:
    await store.write(_insert_both)

    assert await store.read(lambda tx: tx.agents()) == [
        replace(BLUE, created_at=1.0),
        replace(RED, created_at=2.0),
    ]
    assert await store.read(lambda tx: tx.agent(AgentId("nobody"))) is None


@pytest.mark.parametrize("second", [record("red", id_="other123"), record("blue", id_=RED_ID)])
async def test_a_taken_name_or_id_is_refused(store: Store, second: AgentRecord) -> None:
    await store.write(lambda tx: tx.insert_agent(RED))

    with pytest.raises(Conflict, match="already"):
        await store.write(lambda tx: tx.insert_agent(second))

    assert await store.read(lambda tx: tx.agents()) == [RED]


@proves("STORE-003")
async def test_state_is_saved_over_the_version_that_was_read(store: Store) -> None:
    await store.write(lambda tx: tx.insert_agent(RED))
    running = replace(
        RED.state, lifecycle=Lifecycle.RUNNING, activity=Activity.READY, holds=frozenset({"ports"})
    )

    assert await store.write(lambda tx: tx.save_state(running, expect=0)) == 1

    assert await store.read(lambda tx: tx.agent(RED_ID)) == replace(RED, state=running, version=1)


@proves("STORE-003")
async def test_state_over_another_version_is_stale_and_changes_nothing(store: Store) -> None:
    await store.write(lambda tx: tx.insert_agent(RED))
    await store.write(lambda tx: tx.save_state(replace(RED.state, reason="first"), expect=0))

    with pytest.raises(StaleState):
        await store.write(lambda tx: tx.save_state(replace(RED.state, reason="second"), expect=0))

    found = await store.read(lambda tx: tx.agent(RED_ID))
    assert found is not None
    assert (found.state.reason, found.version) == ("first", 1)


@proves("STORE-003")
async def test_state_of_a_removed_agent_is_stale(store: Store) -> None:
    with pytest.raises(StaleState, match="removed"):
        await store.write(lambda tx: tx.save_state(RED.state, expect=0))


async def test_a_new_spec_replaces_the_old_one_and_leaves_the_version(store: Store) -> None:
    await store.write(lambda tx: tx.insert_agent(RED))
    spec = replace(RED.spec, params={"branch": "main", "debug": True})

    await store.write(lambda tx: tx.save_spec(RED_ID, spec))

    assert await store.read(lambda tx: tx.agent(RED_ID)) == replace(RED, spec=spec)


async def test_a_deleted_agent_leaves_only_its_events_and_tombstones(store: Store) -> None:
    def everything(tx: Transaction) -> None:
        tx.insert_agent(RED)
        tx.append(NewEvent(kind="agent.running", agent=RED_ID), at=1.0)
        tx.owe(RED_ID, SPAWN)
        tx.journal(RED_ID, 1, StepRecord(step="ports", order=0, state=StepState.STARTED))
        tx.save_leases([WEB])
        tx.bury(Tombstone(kind="session", name="em-red-g1", agent=RED_ID, generation=1, since=1.0))
        tx.delete_agent(RED_ID)

    await store.write(everything)

    left = await store.read(
        lambda tx: (
            tx.agents(),
            tx.owed(),
            tx.trail(RED_ID, 1),
            tx.leases(),
            len(tx.events()),
            len(tx.tombstones()),
        )
    )
    assert left == ([], [], [], [], 1, 1)


async def test_events_come_back_as_they_were_told_in_order(store: Store) -> None:
    told = NewEvent(
        kind="step.finished", agent=RED_ID, generation=2, cause="req-1", data={"step": "ports", "s": 0.5}
    )
    other = NewEvent(kind="host.started")

    first, second = await store.write(lambda tx: (tx.append(told, at=1.5), tx.append(other, at=2.5)))

    assert second > first
    assert await store.read(lambda tx: tx.events()) == [
        Event(seq=first, at=1.5, kind=told.kind, agent=RED_ID, generation=2, cause="req-1", data=told.data),
        Event(seq=second, at=2.5, kind="host.started"),
    ]


async def test_events_are_found_by_number_agent_and_count(store: Store) -> None:
    for at, agent in enumerate([RED_ID, BLUE_ID] * 3):
        await store.write(partial(_tell, at=at, agent=agent))

    assert _moments(await store.read(lambda tx: tx.events(limit=2))) == [0, 1]
    assert _moments(await store.read(lambda tx: tx.events(after=4))) == [4, 5]
    assert _moments(await store.read(lambda tx: tx.events(agent=BLUE_ID, limit=2))) == [1, 3]
    assert _moments(await store.read(lambda tx: tx.last_events(agent=RED_ID, limit=2))) == [2, 4]


@proves("STORE-008")
async def test_pruning_drops_old_events_except_the_newest_and_numbers_go_on(store: Store) -> None:
    for at in (1.0, 2.0, 3.0, 4.0):
        await store.write(partial(_tell, at=at))

    assert await store.write(lambda tx: tx.prune(before_at=2.5, keep=1)) == 2
    assert await store.write(lambda tx: tx.prune(before_at=9.0, keep=1)) == 1
    assert await store.write(lambda tx: tx.prune(before_at=9.0, keep=0)) == 0

    assert await store.write(partial(_tell, at=5.0)) == 5


@proves("STORE-012")
async def test_an_owed_effect_is_owed_until_it_is_settled(store: Store) -> None:
    first = await store.write(lambda tx: tx.owe(RED_ID, SPAWN, cause="req-1"))
    second = await store.write(lambda tx: tx.owe(BLUE_ID, SPAWN))

    await store.write(lambda tx: tx.settle(first))
    await store.write(lambda tx: tx.settle(first))

    assert await store.read(lambda tx: tx.owed()) == [OwedEffect(id=second, agent=BLUE_ID, effect=SPAWN)]


@proves("STORE-012")
async def test_settling_twice_never_settles_a_later_effect(store: Store) -> None:
    first = await store.write(lambda tx: tx.owe(RED_ID, SPAWN))
    await store.write(lambda tx: tx.settle(first))
    second = await store.write(lambda tx: tx.owe(RED_ID, SPAWN))

    await store.write(lambda tx: tx.settle(first))

    assert [owed.id for owed in await store.read(lambda tx: tx.owed())] == [second]


async def test_the_journal_keeps_the_last_word_on_each_step_of_each_generation(store: Store) -> None:
    started = StepRecord(step="ports", order=1, state=StepState.STARTED)
    finished = replace(started, state=StepState.FINISHED, receipt={"web": 20000, "tags": ["a"]})
    earlier = StepRecord(step="tree", order=0, state=StepState.LEAKED, error="not \udcff UTF-8")

    def write_down(tx: Transaction) -> None:
        for word in (started, earlier, finished):
            tx.journal(RED_ID, 2, word)

    await store.write(write_down)

    assert await store.read(lambda tx: tx.trail(RED_ID, 2)) == [earlier, finished]
    assert await store.read(lambda tx: tx.trail(RED_ID, 1)) == []


@proves("R-32")
async def test_a_port_held_by_another_agent_is_refused_with_the_name_of_the_holder(store: Store) -> None:
    await store.write(_insert_both)
    await store.write(lambda tx: tx.save_leases([WEB]))
    theirs = replace(WEB, agent=BLUE_ID)

    with pytest.raises(Conflict, match="port 20000 is held by red"):
        await store.write(lambda tx: tx.save_leases([replace(theirs, name="free", port=20001), theirs]))

    assert await store.read(lambda tx: tx.leases()) == [WEB]


@proves("R-32")
async def test_a_released_port_is_remembered_and_may_be_held_by_another(store: Store) -> None:
    await store.write(lambda tx: tx.save_leases([WEB]))
    await store.write(lambda tx: tx.release_ports(RED_ID))

    await store.write(lambda tx: tx.save_leases([replace(WEB, agent=BLUE_ID)]))

    assert await store.read(lambda tx: tx.leases(RED_ID)) == [replace(WEB, held=False)]
    with pytest.raises(Conflict):
        await store.write(lambda tx: tx.save_leases([WEB]))


async def test_two_services_of_an_agent_may_swap_ports_but_not_share_one(store: Store) -> None:
    api = replace(WEB, service="api", port=20001)
    await store.write(lambda tx: tx.save_leases([WEB, api]))
    swapped = [replace(api, port=20000), replace(WEB, port=20001)]

    await store.write(lambda tx: tx.save_leases(swapped))

    assert await store.read(lambda tx: tx.leases()) == swapped
    with pytest.raises(Conflict):
        await store.write(lambda tx: tx.save_leases([replace(api, port=20001)]))


async def test_a_forgotten_port_is_gone(store: Store) -> None:
    await store.write(lambda tx: tx.save_leases([WEB]))

    await store.write(lambda tx: tx.release_ports(RED_ID, forget=True))

    assert await store.read(lambda tx: tx.leases()) == []


async def test_a_tombstone_stands_until_it_is_exhumed(store: Store) -> None:
    stone = Tombstone(kind="session", name="em-red-g1", agent=RED_ID, generation=1, since=1.0)
    later = replace(stone, since=2.0, data={"why": "tmux did not answer"})
    other = replace(stone, kind="worktree")

    def bury_all(tx: Transaction) -> None:
        for each in (stone, other, later):
            tx.bury(each)

    await store.write(bury_all)
    assert await store.read(lambda tx: tx.tombstones()) == [later, other]

    await store.write(lambda tx: tx.exhume("session", "em-red-g1"))
    assert await store.read(lambda tx: tx.tombstones()) == [other]


async def test_a_snapshot_is_kept_with_its_spec_and_can_be_marked_restored(store: Store) -> None:
    saved = Snapshot(
        id=0, agent=RED_ID, name="red", repo="/repo", ref="refs/envmgr/1", branch="em/red", head="abc",
        path="/trees/red", at=1.0, spec=RED.spec,
    )  # fmt: skip

    number = await store.write(lambda tx: tx.add_snapshot(saved))
    await store.write(lambda tx: tx.mark_restored(number))

    assert await store.read(lambda tx: tx.snapshots()) == [replace(saved, id=number, restored=True)]


async def test_a_setting_is_what_was_put_last(store: Store) -> None:
    assert await store.read(lambda tx: tx.get("instance")) is None

    await store.write(lambda tx: tx.put("instance", "a"))
    await store.write(lambda tx: tx.put("instance", "b"))

    assert await store.read(lambda tx: tx.get("instance")) == "b"


@proves("STORE-005")
async def test_small_settings_are_listed_by_their_beginning_and_forgotten(store: Store) -> None:
    for key in ("run/a/x", "run/b/x", "run_a", "seed/a"):
        await store.write(lambda tx, key=key: tx.put(key, key.upper()))  # type: ignore[misc]

    await store.write(lambda tx: tx.drop("run/a/x"))
    await store.write(lambda tx: tx.drop("never"))

    assert await store.read(lambda tx: dict(tx.under("run/"))) == {"run/b/x": "RUN/B/X"}
