"""Operations on what was written and what happened: logs, events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import anyio

from envmgr.aio import blocking
from envmgr.app import text, views
from envmgr.app.agents import OneAgent
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.present import event_view
from envmgr.app.shapes import Ask, argument, option
from envmgr.app.tail import Tail
from envmgr.errors import NotFound
from envmgr.model.event import Event
from envmgr.model.service import ServiceSpec
from envmgr.protocols.store import Transaction
from envmgr.runtime import commands, sharing
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.runners import needs_runner
from envmgr.runtime.steps.assistant import last_screen

_PAGE = 500
_POLL_S = 0.1


class Logs(OneAgent):
    """Which output."""

    service: str = argument(
        "Service; `hooks` is set-up and hooks; `agent` is the assistant's screen; all but that when left out",
        default="",
    )
    follow: bool = option("Go on as it grows", short="-f", default=False)
    lines: int = option("Lines from the end to begin with", short="-l", default=100, ge=0, le=100_000)


class Events(Ask):
    """Which events."""

    agent: str = argument("Only this agent's", default="")
    after: int = option("Only those with a higher sequence number", default=0, ge=0)
    follow: bool = option("Go on as they happen", short="-f", default=False)
    limit: int = option("At most so many when not following", default=200, ge=1, le=10_000)


@operation(
    "agent.logs",
    route="GET /api/v1/agents/{agent}/logs",
    gives=views.LogLine,
    text=lambda item, style: item.text,
    command="logs",
)
async def logs(ask: Logs, app: App) -> AsyncIterator[views.LogLine]:
    """Print what the agent's services, set-up and hooks wrote, and follow it.

    Without a name services with `logs.quiet` are left out.
    """
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    if ask.service == "agent":
        yield views.LogLine(service="agent", text=await last_screen(inc) + "\n")
        return
    names = [s.name for s in inc.services if needs_runner(s) and _is_meant(s, ask.service)]
    shows_hooks = commands.has_commands(inc) and ask.service in ("", commands.LOG_NAME)
    if not (names or shows_hooks) and (ask.service or not any(map(needs_runner, inc.services))):
        raise _no_log(inc, ask.service)
    tails = [Tail(commands.LOG_NAME, commands.log_path(inc), ask.lines)] if shows_hooks else []
    tails += [Tail(name, sharing.log(inc, inc.service(name)), ask.lines) for name in names]
    if not tails:
        return  # each of them is quiet
    with ExitStack() as files:
        for tail in tails:
            files.callback(tail.close)
        while True:
            is_quiet = True
            for tail in tails:
                if piece := await blocking.look("file", 5.0, tail.more):
                    is_quiet = False
                    shown = text.clean(_prefixed(piece, tail.service, len(tails)))
                    yield views.LogLine(service=tail.service, text=shown)
            if not ask.follow:
                return
            if is_quiet:
                await anyio.sleep(_POLL_S)


def _no_log(inc: Incarnation, asked: str) -> NotFound:
    known = [*(s.name for s in inc.services if needs_runner(s))]
    known += [commands.LOG_NAME] if commands.has_commands(inc) else []
    return NotFound(
        f"{inc.name} has no log of {asked or 'any service'}",
        hint=f"Logs: {', '.join(known) or 'none'}. The assistant's screen: `envmgr logs {inc.name} agent`.",
    )


def _is_meant(service: ServiceSpec, asked: str) -> bool:
    """Without a name all that are not quiet are."""
    return asked in (service.name, service.replica_of) if asked else not service.logs.quiet


def _prefixed(piece: str, service: str, of: int) -> str:
    if of == 1:
        return piece
    return "".join(f"{service} | {line}\n" for line in piece.splitlines())


@operation("events", route="GET /api/v1/events", gives=views.EventView, text=text.event, command="events")
async def events(ask: Events, app: App) -> AsyncIterator[views.EventView]:
    """Print what happened, oldest first, and follow it; resumable by sequence number."""
    supervisor = app.agents
    agent = supervisor.find(ask.agent).state.id if ask.agent else ""
    with supervisor.bus.subscribe() as subscription:
        last = ask.after
        page = await _first_page(app, ask, agent)
        while True:
            for event in page:
                last = event.seq
                yield event_view(event, supervisor)
            if not ask.follow:
                return
            # The store is asked each time; what the bus brings is only the word that there is something new.
            page = await _after(app, agent, last, _PAGE)
            if not page and not await subscription.next():
                return


async def _first_page(app: App, ask: Events, agent: str) -> Sequence[Event]:
    """What to begin with: all after a number, or the newest ones."""
    if not ask.after:
        return await _last(app, agent, ask.limit)
    return await _after(app, agent, ask.after, ask.limit)


async def _after(app: App, agent: str, after: int, limit: int) -> Sequence[Event]:
    def query(tx: Transaction) -> Sequence[Event]:
        return tx.events(after=after, agent=agent, limit=limit)

    return await app.agents.systems.store.read(query)


async def _last(app: App, agent: str, limit: int) -> Sequence[Event]:
    def query(tx: Transaction) -> Sequence[Event]:
        return tx.last_events(agent=agent, limit=limit)

    return await app.agents.systems.store.read(query)
