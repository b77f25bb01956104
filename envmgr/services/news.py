"""Events that happened to an agent, as sentences it can act on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from envmgr.model.event import Event
from envmgr.protocols.store import Transaction

_Say = Callable[[Event], str]
_LOOKED_AT = 50


def news(event: Event) -> str:
    """What to tell the agent; empty for what is no news to it."""
    say = _SAID.get(event.kind)
    return say(event) if say is not None else ""


def news_since(tx: Transaction, agent: str, last: int | None, *, at: float) -> tuple[int, Sequence[str]]:
    """What happened to an agent since an event, and the number of the last one now.

    Args:
        at: When it was told nothing yet: since this Unix time.
    """
    events = tx.last_events(agent=agent, limit=_LOOKED_AT)
    fresh = [event for event in events if (event.seq > last if last is not None else event.at >= at)]
    lines = [line for event in fresh if (line := news(event))]
    return max((event.seq for event in events), default=last or 0), lines


def _of(event: Event, *names: str) -> str:
    found = [str(event.data[name]) for name in names if event.data.get(name)]
    return ": " + "; ".join(found) if found else ""


_SAID: dict[str, _Say] = {
    "lock.lost": lambda e: f"your lock of {e.data.get('target')} is gone{_of(e, 'why')}",
    "lock.forced": lambda e: (
        f"your lock of {e.data.get('target')} was taken away{_of(e, 'by', 'reason', 'why')}"
    ),
    "lock.expired": lambda e: f"your lock of {e.data.get('target')} has run out",
    "lock.received": lambda e: f"you have been given the lock of {e.data.get('target')}{_of(e, 'sender')}",
    # Violations, and tasks that are called off, are among the warnings: told once, whoever is asked first.
    "task.over_budget": lambda e: f"task {e.data.get('task')} is over its budget, stop and wait for a person",
    "task.returned": lambda e: f"task {e.data.get('task')} went back to the queue{_of(e, 'reason')}",
    "handoff.received": lambda e: f"{e.data.get('by')} left you a handoff: {e.data.get('handoff')}",
}
