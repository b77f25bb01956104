"""The trail of a saga in the store, with an event for each line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envmgr.model.event import Event, NewEvent
from envmgr.model.lease import StepRecord
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.supervisor import Supervisor


class Journal:
    """What `Saga` writes its lines to."""

    def __init__(self, supervisor: Supervisor, inc: Incarnation) -> None:
        self._supervisor = supervisor
        self._inc = inc

    async def write(self, records: Sequence[StepRecord]) -> None:
        """One commit for all lines and their events; subscribers are told after it."""
        inc, now = self._inc, self._inc.systems.now()

        def change(tx: Transaction) -> list[Event]:
            events = []
            for record in records:
                tx.journal(inc.id, inc.generation, record)
                data = _without_empty({"step": record.step, "error": record.error})
                new = NewEvent(
                    kind=f"step.{record.state.value}", agent=inc.id, generation=inc.generation, data=data
                )
                seq = tx.append(new, at=now)
                events.append(
                    Event(
                        kind=new.kind, agent=new.agent, generation=new.generation, data=data, seq=seq, at=now
                    )
                )
            return events

        self._supervisor.bus.publish(await inc.systems.store.write(change))


def _without_empty(data: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in data.items() if value != ""}
