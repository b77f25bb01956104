"""What all coordination services stand on: the store, the clocks, and the way to tell what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from envmgr.model.event import Event, NewEvent
from envmgr.protocols.store import Store, Transaction

T = TypeVar("T")
Tell = Callable[[NewEvent], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Shared by the services of one daemon.

    Attributes:
        now: Unix time, for stamps that people read.
        steady: Unix time that no setting of the wall clock moves, for leases and other spans (see `runtime.steady`).
        publish: Hands events that are durable to whoever listens.
    """

    store: Store
    now: Callable[[], float]
    steady: Callable[[], float]
    publish: Callable[[Sequence[Event]], None]

    async def write(self, change: Callable[[Transaction, Tell], T]) -> T:
        """Run a change; what it tells is stored with it, and published once it is durable. Raises as `Store.write`."""
        at = self.now()

        def run(tx: Transaction) -> tuple[T, list[Event]]:
            events: list[Event] = []

            def tell(new: NewEvent) -> None:
                seq = tx.append(new, at=at)
                events.append(
                    Event(
                        seq=seq, at=at, kind=new.kind, agent=new.agent, generation=new.generation,
                        cause=new.cause, data=new.data,
                    )
                )  # fmt: skip

            return change(tx, tell), events

        result, events = await self.store.write(run)
        if events:
            self.publish(events)
        return result

    async def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a query. Raises as `Store.read`."""
        return await self.store.read(query)

    async def search(self, query: Callable[[Transaction], T]) -> T:
        """Run a query that may take long. Raises as `Store.read`."""
        return await self.store.search(query)
