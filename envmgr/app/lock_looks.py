"""Looks at locks for those who ask, and why something was not done."""

from __future__ import annotations

from collections.abc import Iterable

from envmgr import errors
from envmgr.app.context import App
from envmgr.app.lock_views import WaiterView
from envmgr.core.leasing import covers, may_meet, meets, stem
from envmgr.core.overlap import covers as has_all
from envmgr.core.targets import parse_target
from envmgr.core.waits import Wish
from envmgr.model.agent import Lifecycle
from envmgr.model.lock import Conflict, Grant, Mode
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.services.lock_desk import STALE, Done


def touches(target: str, others: Iterable[str]) -> bool:
    """Whether it overlaps one of the others; all are canonical."""
    at = stem(target)
    return any(may_meet(at, stem(other)) and meets(target, other) for other in others)


def lets(grant: Grant, target: str, mode: Mode) -> bool:
    """Whether its holder may do with the target what the mode is for."""
    return covers(grant.mode, mode) and has_all(parse_target(grant.target), parse_target(target))


def waiters(app: App, repo: str) -> list[WaiterView]:
    """For a thread: everybody's place is counted."""
    line, now = app.coordinator.locks.line, app.coordinator.ground.steady()
    positions = line.positions()

    def view(wish: Wish) -> WaiterView:
        return WaiterView(
            holder=wish.name, targets=list(wish.targets), mode=wish.mode.value, priority=wish.priority.value,
            reason=wish.reason, waited_s=round(now - wish.since, 1), position=positions.get(wish.number, 1),
        )  # fmt: skip

    return [view(wish) for wish in line.wishes() if repo in ("", wish.repo)]


def receiver(app: App, name: str, *, repo: str) -> Principal:
    """An agent that can be given locks: nobody would end those of one that does not run.

    Raises:
        NotFound: There is none of that name.
        Conflict: It cannot.
    """
    found = app.agents.named(name)
    state = found.state
    if state.lifecycle is not Lifecycle.RUNNING or found.spec.repo != repo:
        why = "works in another repository" if found.spec.repo != repo else "does not run"
        raise errors.Conflict(f"{state.name} {why}", hint="See `envmgr ls`; release the lock instead.")
    return Principal(kind=PrincipalKind.AGENT, name=state.name, agent=state.id)


def refusal(done: Done) -> str:
    """In one word; empty when nothing was refused."""
    return done.refused[0][1] if done.refused else ""


def why_not(done: Done) -> str:
    """For people; empty when nothing was refused."""
    if not done.refused:
        return ""
    names = ", ".join(target for target, _ in done.refused)
    if refusal(done) == STALE:
        return f"that token is stale: {names} may be somebody else's by now"
    if done.conflicts:
        return "; ".join(dict.fromkeys(map(_kept, done.conflicts)))
    return f"not held by you: {names}"


def _kept(found: Conflict) -> str:
    grant = found.grant
    return f"{found.target} cannot be given away: {grant.name} keeps {grant.target} ({grant.mode})"
