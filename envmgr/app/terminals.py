"""Operations on an agent's session: attach, send, and the reports of its assistant's hooks."""

from __future__ import annotations

from envmgr.app import changing, views
from envmgr.app.agents import OneAgent
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, argument, option
from envmgr.errors import Conflict, IllegalTransition, UsageError
from envmgr.model.agent import Activity, Source
from envmgr.model.event import NewEvent
from envmgr.model.stimulus import ActivityReported
from envmgr.runtime import attaching, conversation, delivery
from envmgr.runtime.actor import Actor
from envmgr.runtime.dispatching import errand as errands

_COME_BACK = "a recovery has put this session in the place of the one you were in"


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
