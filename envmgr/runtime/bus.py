"""Fan stored events out to subscribers; from a slow one some are kept back, all are in the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio

from envmgr.model.event import Event

_QUEUE = 1024


class Subscription:
    """Events from the moment of subscribing; one consumer.

    Args:
        kinds: Beginnings of the kinds that are wanted: nobody is woken for what they would pass by.
    """

    def __init__(self, kinds: tuple[str, ...] = ("",)) -> None:
        self._kinds = kinds
        self._queue: deque[Event] = deque()
        self._wake = anyio.Event()
        self._closed = False

    def offer(self, event: Event) -> None:
        """Queue an event that is wanted; beyond 1,024 waiting ones all are dropped, for their reader is stuck."""
        if not event.kind.startswith(self._kinds):
            return
        if len(self._queue) >= _QUEUE:
            self._queue.clear()
        self._queue.append(event)
        self._wake.set()

    def close(self) -> None:
        """End the stream after what is queued."""
        self._closed = True
        self._wake.set()

    async def next(self) -> Sequence[Event]:
        """All waiting events, at least one; empty only when the bus closed."""
        while not self._queue and not self._closed:
            self._wake = anyio.Event()
            await self._wake.wait()
        waiting = tuple(self._queue)
        self._queue.clear()
        return waiting


class Bus:
    """In-process publish and subscribe; publishing never waits."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, events: Sequence[Event]) -> None:
        """Hand events to every subscriber, in order."""
        for subscription in self._subscriptions:
            for event in events:
                subscription.offer(event)

    @contextmanager
    def subscribe(self, *kinds: str) -> Iterator[Subscription]:
        """A subscription for the time of the block; to kinds that begin so, or to all."""
        subscription = Subscription(kinds or ("",))
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End all streams; used when the daemon stops."""
        for subscription in self._subscriptions:
            subscription.close()
