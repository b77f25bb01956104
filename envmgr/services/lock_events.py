"""Events about locks: what concerns others than the one who acts; what everybody did is in the audit trail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envmgr.core.waits import Wish, says
from envmgr.model.event import NewEvent
from envmgr.model.lock import Grant, Link


def is_agent(holder: str) -> bool:
    """Whether a holder is an agent: only the ids of others name their kind."""
    return ":" not in holder


def waiting(wish: Wish, holders: Iterable[str]) -> NewEvent:
    """Somebody waits for others."""
    return event("lock.waiting", wish.holder, targets=list(wish.targets), holders=sorted(set(holders)))


def deadlock(wish: Wish, cycle: Sequence[Link]) -> NewEvent:
    """Somebody may not wait."""
    steps = [says(step) for step in cycle]
    return event("lock.deadlock", wish.holder, targets=list(wish.targets), cycle=steps)


def released(repo: str, target: str, holder: str) -> NewEvent:
    """Who waits may have a look."""
    return event("lock.released", holder, repo=repo, target=target)


def lost(grant: Grant, why: str) -> NewEvent:
    """Its holder is no more."""
    return event("lock.lost", grant.holder, **_of(grant), why=why)


def expired(grant: Grant) -> NewEvent:
    """Its time is over."""
    return event("lock.expired", grant.holder, **_of(grant))


def forced(grant: Grant, why: str) -> NewEvent:
    """Taken from its holder."""
    return event("lock.forced", grant.holder, **_of(grant), why=why)


def transferred(grant: Grant, to: str) -> NewEvent:
    """For the giver."""
    return event("lock.transferred", grant.holder, **_of(grant), to=to)


def received(grant: Grant, sender: str) -> NewEvent:
    """For the receiver."""
    return event("lock.received", grant.holder, **_of(grant), sender=sender)


def _of(grant: Grant) -> dict[str, object]:
    return {"repo": grant.repo, "target": grant.target, "holder": grant.name, "token": grant.token}


def event(kind: str, who: str, /, **data: object) -> NewEvent:
    """About a holder, who need not be an agent."""
    return NewEvent(kind=kind, agent=who if is_agent(who) else "", data=data)
