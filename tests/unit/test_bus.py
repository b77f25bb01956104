"""Events reach every subscriber in order, and one that is stuck holds up nobody."""

from __future__ import annotations

import anyio
import pytest

from envmgr.model.event import Event
from envmgr.runtime.bus import Bus
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


def events(*numbers: int) -> list[Event]:
    return [Event(kind="tick", seq=number, at=0.0) for number in numbers]


@proves("BUS-001")
async def test_every_subscriber_gets_every_event_in_order() -> None:
    bus = Bus()
    with bus.subscribe() as first, bus.subscribe() as second:
        bus.publish(events(1, 2))
        bus.publish(events(3))

        assert await first.next() == tuple(events(1, 2, 3))
        assert await second.next() == tuple(events(1, 2, 3))


@proves("BUS-001")
async def test_a_subscriber_waits_for_the_next_event() -> None:
    bus = Bus()
    got: list[Event] = []
    with bus.subscribe() as subscription, anyio.fail_after(5):

        async def wait() -> None:
            got.extend(await subscription.next())

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            bus.publish(events(1))

    assert got == events(1)


@proves("BUS-001")
async def test_events_before_and_after_the_subscription_are_not_delivered() -> None:
    bus = Bus()
    bus.publish(events(1))
    with bus.subscribe() as subscription:
        bus.publish(events(2))
    bus.publish(events(3))

    assert await subscription.next() == tuple(events(2))


@proves("BUS-001")
async def test_a_subscriber_to_some_kinds_is_not_woken_by_others() -> None:
    bus = Bus()
    with bus.subscribe("agent.", "lock.released") as subscription, anyio.fail_after(5):
        for seq, kind in enumerate(("lock.waiting", "agent.running", "tick", "lock.released"), 1):
            bus.publish([Event(kind=kind, seq=seq, at=0.0)])

        assert [event.seq for event in await subscription.next()] == [2, 4]


@proves("BUS-002")
async def test_a_subscriber_that_is_stuck_holds_up_nobody_and_loses_what_it_did_not_read() -> None:
    bus = Bus()
    with bus.subscribe() as slow, bus.subscribe() as quick:
        for number in range(1, 1026):
            bus.publish(events(number))
            assert await quick.next() == tuple(events(number))

        assert await slow.next() == tuple(events(1025))


@proves("BUS-001")
async def test_closing_ends_every_stream_after_what_is_queued() -> None:
    bus = Bus()
    with bus.subscribe() as subscription, anyio.fail_after(5):
        bus.publish(events(1))
        bus.close()

        assert await subscription.next() == tuple(events(1))
        assert await subscription.next() == ()


@proves("BUS-001")
async def test_closing_wakes_who_waits() -> None:
    bus = Bus()
    got: list[tuple[Event, ...]] = []
    with bus.subscribe() as subscription, anyio.fail_after(5):

        async def wait() -> None:
            got.append(tuple(await subscription.next()))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            bus.close()

    assert got == [()]
