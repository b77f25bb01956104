"""Operations on what an agent shows and hears: attach, send, exec, env, url, logs, events, hook reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.app import changing, text, views
from envmgr.app.agents import OneAgent
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.present import event_view
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.app.tail import Tail
from envmgr.errors import Conflict, IllegalTransition, NotFound, Unavailable, UsageError
from envmgr.model.agent import Activity, Lifecycle, Source
from envmgr.model.event import Event, NewEvent
from envmgr.model.observe import Present, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.model.stimulus import ActivityReported
from envmgr.protocols.store import Transaction
from envmgr.runtime import addresses, attaching, commands, conversation, delivery, owning, rendering, sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.dispatching import errand as errands
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.runners import needs_runner
from envmgr.runtime.steps.assistant import last_screen
from envmgr.runtime.steps.environment import public_env

_COME_BACK = "a recovery has put this session in the place of the one you were in"
_PAGE = 500
_POLL_S = 0.1


class Attach(OneAgent):
    """Where to go."""

    window: str = option("agent, services or monitor", short="-w", default="agent")
    again: bool = option(
        "Into the session that has come in the place of another one; no hooks", default=False
    )


class Send(OneAgent):
    """What to say."""

    prompt: str = argument("The prompt; `-` reads standard input")
    force: bool = option("Also when the assistant is not known to be ready", default=False)


class Environment(OneAgent):
    """Whose environment."""

    reveal: bool = option("Show the values of secrets", default=False)
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class Execute(OneAgent):
    """What to run in the agent's environment."""

    command: list[str] = argument("Command and arguments, after --", min_length=1)
    service: str = option("Inside of this service's container, or with its environment", default="")
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class Url(OneAgent):
    """Which address."""

    service: str = argument("Only this service", default="")


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


class Report(Ask):
    """A hook call of an assistant."""

    agent: str
    generation: int
    hook: str
    payload: dict[str, object] = {}


@operation(
    "agent.attach",
    route="POST /api/v1/agents/{agent}/attach",
    gives=views.AttachView,
    touch=Touch.WRITE,
    text=lambda result, style: " ".join(result.argv) + "\n",
    command="attach",
)
async def attach(ask: Attach, app: App) -> views.AttachView:
    """Go into the agent's terminal; C-] or F10 leaves it, and the agent goes on.

    The template's `hooks.on_attach` run before; what fails is told in the terminal. When the session goes away in a recovery,
    this waits for the next one and goes there.
    """
    if ask.window not in ("agent", "services", "monitor"):
        raise UsageError(f"there is no window {ask.window!r}", hint="Use agent, services or monitor.")
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    terminal = await inc.look_for_terminal()
    if terminal is None:
        raise Conflict(
            f"{actor.state.name} has no terminal: it is {actor.state.lifecycle.value}",
            hint=f"Start it with `envmgr start {actor.state.name}`.",
        )
    notes = [_COME_BACK] if ask.again else list(await attaching.run_hooks(inc, app.agents.record))
    terminals = app.agents.systems.terminals
    return views.AttachView(
        argv=list(terminals.attach_command(terminal, window=ask.window, say="; ".join(notes))),
        identify=list(terminals.identify_command(terminal)),
        name=actor.state.name,
        notes=notes,
    )


@operation(
    "agent.send",
    route="POST /api/v1/agents/{agent}/send",
    gives=views.Done,
    text=lambda result, style: f"{result.message}\n",
    touch=Touch.WRITE,
    command="send",
)
async def send(ask: Send, app: App) -> views.Done:
    """Give the assistant a prompt, as one paste, and see that it was taken."""
    if not ask.prompt.strip():
        raise UsageError("the prompt is empty", hint="Write what the assistant is to do.")
    actor = app.agents.find(ask.agent)
    _refuse_unready(actor, is_forced=ask.force)
    inc = await app.agents.incarnation(actor)
    await delivery.deliver(inc, ask.prompt, actor.reports)
    return views.Done(message=f"{actor.state.name} took the prompt")


def _refuse_unready(actor: Actor, *, is_forced: bool) -> None:
    """A prompt sent into a dialog could approve something; one sent to a busy assistant is queued by chance."""
    name, state = actor.state.name, actor.state
    if not state.is_alive:
        raise IllegalTransition(
            f"{name} is {state.lifecycle.value}", hint=f"Start it with `envmgr start {name}`."
        )
    if state.activity is Activity.AWAITING_INPUT:
        raise IllegalTransition(
            f"{name} waits for an answer ({state.evidence.detail if state.evidence else 'a question'}); "
            "a prompt could be taken for one",
            hint=f"Answer it with `envmgr attach {name}`.",
        )
    if state.activity is Activity.WORKING and not is_forced:
        raise IllegalTransition(f"{name} is working", hint="Wait until it is ready, or say --force.")


@operation(
    "agent.env",
    route="POST /api/v1/agents/{agent}/env",
    gives=views.EnvView,
    text=lambda result, style: "".join(f"{k}={v}\n" for k, v in sorted(result.env.items())),
    command="env",
)
async def env(ask: Environment, app: App) -> views.EnvView:
    """Print the agent's environment: ports, URLs, connection strings; secrets are masked."""
    return await _env(ask, app)


@operation(
    "agent.exec",
    route="POST /api/v1/agents/{agent}/exec",
    gives=views.EnvView,
    text=lambda result, style: f"cd {result.worktree}\n",
    touch=Touch.WRITE,
    command="exec",
)
async def execute(ask: Execute, app: App) -> views.EnvView:
    """Run a command in the agent's worktree with its environment; the command line does the running.

    Whoever asks stays who they are: an `envmgr` in there acts for you and not for the agent, whose key is not in the environment.
    """
    whole = Environment(agent=ask.agent, reveal=True, environment=ask.environment)
    view = await _env(whole, app)
    if not Path(view.worktree).is_dir():
        raise Conflict(f"{view.name} has no worktree", hint=f"Start it with `envmgr start {view.name}`.")
    return await _within(ask, app, view) if ask.service else view


async def _within(ask: Execute, app: App, view: views.EnvView) -> views.EnvView:
    inc = await app.agents.incarnation(app.agents.find(ask.agent))
    named = (s for s in inc.services if ask.service in (s.name, s.replica_of) and needs_runner(s))
    service = next(named, None)  # the first instance, when it stands for several
    if service is None:
        known = ", ".join(s.name for s in inc.services if needs_runner(s)) or "none"
        raise NotFound(f"{view.name} has no service {ask.service}", hint=f"It has: {known}.")
    if service.container is not None:
        owner = sharing.runs_in(inc, service)
        await _need_running(app, view.name, service, owning.container(owner, service.name))
        place = await app.engine.whereabouts()  # the daemon's: the person's own may be another one
        engine = dict(place.variables) if place else {}
        return view.model_copy(update={"container": owning.container(owner, service.name), "engine": engine})
    env = rendering.service_env(inc, service, await inc.secrets(ask.environment))
    folder = inc.path / service.cwd
    return view.model_copy(update={"worktree": str(folder), "env": {**env, **inc.marker("person")}})


async def _need_running(app: App, agent: str, service: ServiceSpec, container: str) -> None:
    """What the engine would say instead names the container by 64 digits only."""
    match await app.agents.systems.containers.inspect(container):
        case Present(found) if found.is_alive:
            return
        case Unknown(reason):
            raise Unavailable(reason, hint="See `envmgr doctor`.")
    is_task = service.kind is ServiceKind.TASK
    raise Conflict(
        f"{service.name} is a task, and has ended"
        if is_task
        else f"the container of {service.name} does not run",
        hint=f"See `envmgr logs {agent} {service.name}`; `envmgr restart {agent} {service.name}` runs it again.",
    )


async def _env(ask: Environment, app: App) -> views.EnvView:
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    _need_ports(actor)
    if not ask.reveal:
        return views.EnvView(name=actor.state.name, worktree=str(inc.path), env=public_env(inc))
    secrets = await inc.secrets(ask.environment)
    # A command in there that calls envmgr means this installation.
    here = {"ENVMGR_STATE_DIR": str(inc.layout.state_dir)}
    full = rendering.assistant_env(inc, secrets, part="person") | here
    return views.EnvView(name=actor.state.name, worktree=str(inc.path), env=full)


@operation(
    "agent.url",
    route="GET /api/v1/agents/{agent}/url",
    gives=views.UrlView,
    text=lambda result, style: "".join(f"{url}\n" for url in result.urls.values()),
    command="url",
)
async def url(ask: Url, app: App) -> views.UrlView:
    """Print the addresses of the agent's services."""
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    _need_ports(actor)
    # Instances only by name: their service's address leads to them.
    services = [s for s in inc.services if ask.service == s.name or not (ask.service or s.replica_of)]
    if ask.service and not services:
        known = ", ".join(s.name for s in inc.services) or "none"
        raise NotFound(f"{actor.state.name} has no service {ask.service}", hint=f"It has: {known}.")
    urls = {f"{s.name}.{p.name}": addresses.url(inc, s, p) for s in services for p in s.ports}
    return views.UrlView(name=actor.state.name, urls=urls)


def _need_ports(actor: Actor) -> None:
    if (
        actor.spec.services
        and actor.state.lifecycle in (Lifecycle.STOPPED, Lifecycle.ERROR)
        and not actor.state.holds
    ):
        raise IllegalTransition(
            f"{actor.state.name} is {actor.state.lifecycle.value} and holds no ports",
            hint=f"Start it with `envmgr start {actor.state.name}`.",
        )


# --- output and events ---------------------------------------------------------------------------------------


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


@operation(
    "agent.report",
    route="POST /api/v1/agents/{agent}/report",
    gives=views.Noted,
    text=lambda result, style: result.say,
    touch=Touch.WRITE,
)
async def report(ask: Report, app: App) -> views.Noted:
    """Take a hook call of an assistant; a call of an earlier generation changes nothing.

    What the hook is to print is in the answer, and is all of it as text.
    """
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    understood = inc.assistant.understand(ask.hook, ask.payload)
    if ask.generation == inc.generation:
        app.coordinator.sessions.hooked(actor.state.id)
        await conversation.hear(inc, understood)
        changing.hear(app, actor, inc, ask.payload)
        if actor.spec.queue.mode == "auto" and (understood.finishes or understood.fails):
            await app.agents.systems.store.write(
                lambda tx: errands.end(tx, inc.id, inc.generation, reason=understood.fails)
            )
        if understood.compacts:
            # Who listens writes the handoff; the assistant waits for this answer.
            event = NewEvent(kind="assistant.compacting", agent=inc.id, generation=inc.generation)
            await app.agents.record(event)
    if understood.activity is not None:
        await app.agents.apply(
            actor,
            ActivityReported(
                generation=ask.generation,
                activity=understood.activity,
                source=Source.HOOK,
                detail=understood.detail,
            ),
        )
    is_present = ask.generation == inc.generation
    say = await changing.context(app, actor, ask.hook, understood) if is_present else ""
    return views.Noted(message="noted", say=say)
