"""Which rows of the audit trail somebody asks for."""

from __future__ import annotations

import time
from difflib import get_close_matches
from typing import Literal

from pydantic import AliasChoices

from envmgr.app import moments, spans
from envmgr.app.context import App
from envmgr.app.operations import OPERATIONS
from envmgr.app.shapes import Ask, option
from envmgr.errors import Invalid, NotFound
from envmgr.model.audit import Filter

_NAME = 200


class AuditFilter(Ask):
    """Which rows; what is left out does not matter."""

    last: str = option("Only of the last 30m, 6h, 2d", default="", max_length=40)
    since: str = option("Since 2026-11-20T18:00:00Z, or 2d for two days ago", default="", max_length=40)
    until: str = option("Before such a moment", default="", max_length=40)
    actor: str = option("Id or name of whoever asked", default="", max_length=_NAME)
    agent: str = option(
        "Name or id of an agent, also of one that is gone",
        default="",
        max_length=_NAME,
        validation_alias=AliasChoices("agent", "agent_id"),
    )
    operation: str = option(
        "Name of an operation or its tool, or the beginning of several, such as `lock.`",
        default="",
        max_length=_NAME,
    )
    target: str = option("Part of what it was about", default="", max_length=1000)
    decision: Literal["", "allowed", "denied"] = option("allowed or denied", default="")
    outcome: str = option("ok, or the code or reason why not", default="", max_length=_NAME)
    request: str = option("Id of a request", default="", max_length=_NAME)


async def filter_of(ask: AuditFilter, app: App) -> Filter:
    """The same as the trail takes it.

    Raises:
        UsageError: A time is none, or nothing can be between them.
        NotFound: No agent or operation has such a name, or ever had.
    """
    since, until = _between(ask, now=time.time())
    agent, name = await _agent(ask.agent, app)
    return Filter(
        after_us=int(since * 1e6),
        before_us=int(until * 1e6),
        actor=ask.actor,
        agent=agent,
        agent_name=name,
        operation=await _operation(ask.operation, app),
        target=ask.target,
        decision=ask.decision,
        outcome=ask.outcome,
        request=ask.request,
    )


def _between(ask: AuditFilter, *, now: float) -> tuple[float, float]:
    """Unix times; 0 for no limit."""
    since = now - spans.seconds(ask.last) if ask.last else 0.0
    since = max(since, moments.past(ask.since, now=now)) if ask.since else since
    until = moments.past(ask.until, now=now) if ask.until else 0.0
    if since > now:
        raise Invalid(f"{ask.since[:60]!r} is still to come", hint="Begin with a moment that was.")
    if until and since >= until:
        raise Invalid(
            f"nothing is between {moments.moment(since)} and {moments.moment(until)}",
            hint="Let --until be later than --since and --last.",
        )
    return since, until


async def _agent(wanted: str, app: App) -> tuple[str, str]:
    """Its id and name. One that is gone goes before the beginning of another one's name: `fox-1` is not `fox-10`."""
    states = [actor.state for actor in app.agents.actors()]
    exact = next((one for one in states if wanted in (one.id, one.name)), None)
    if not wanted or (exact is None and await _is_seen(app, Filter(agent=wanted, agent_name=wanted))):
        return wanted, wanted
    try:
        found = exact or app.agents.find(wanted).state
    except NotFound as error:
        raise NotFound(f"{error.message}, and none that is gone is in the trail", hint=error.hint) from error
    return str(found.id), found.name


async def _operation(wanted: str, app: App) -> str:
    """Its name; agents know operations by their tools."""
    name = next((op.name for op in OPERATIONS.values() if op.tool == wanted), wanted)
    is_known = not name or any(_begins(one, name) for one in OPERATIONS)
    # envmgr's own doings, and operations of other versions, stand in the trail only.
    if not is_known and not await _is_seen(app, Filter(operation=name)):
        raise _no_operation(name)
    return name


async def _is_seen(app: App, wanted: Filter) -> bool:
    return bool(await app.coordinator.audit.query(wanted, limit=1))


def _begins(name: str, wanted: str) -> bool:
    return name.startswith(wanted) if wanted.endswith(".") else name == wanted


def _no_operation(wanted: str) -> NotFound:
    families = {f"{name.partition('.')[0]}." for name in OPERATIONS if "." in name}
    if f"{wanted}." in families:
        hint = f"`{wanted}.`, with the dot, is all that begins so."
    else:
        near = get_close_matches(wanted, [*OPERATIONS, *families], n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(sorted(families))}"
    return NotFound(f"no operation is called {wanted}", hint=hint)
