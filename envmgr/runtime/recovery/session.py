"""Rung 2: terminal session and assistant anew, with the same conversation. Services, ports and files are left alone.

Every part may be done twice. Nothing is done while the terminal server does not answer: not seeing is not losing (R-15).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from envmgr.aio import blocking
from envmgr.core.masking import masked
from envmgr.errors import EnvmgrError, Unavailable, Unobservable
from envmgr.model.agent import Activity
from envmgr.model.handoff import HandoffKind
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.stimulus import SessionRestored
from envmgr.protocols.terminals import Terminal
from envmgr.runtime import conversation, delivery, leaving
from envmgr.runtime.actor import ASSISTANT, Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.missed import replay
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.saga import never
from envmgr.runtime.steps import assistant, session
from envmgr.runtime.steps.environment import write_env, write_private
from envmgr.runtime.supervisor import Supervisor

_HISTORY_LINES = 5000
_KEPT_SCREENS = 5
_FILE_S = 5.0


class SessionRung:
    """Ends what is left of the assistant, verified, and brings it back."""

    def __init__(self, supervisor: Supervisor, *, reach: Callable[[str], None] = never) -> None:
        """`reach` is called at each named crash point."""
        self._supervisor = supervisor
        self._reach = reach

    async def act(self, actor: Actor, inc: Incarnation, measure: Measure) -> str:
        """Do it; returns what was done, for people. The caller keeps everybody else from changing the agent.

        Raises:
            Unobservable: The terminal server does not answer; nothing was done.
            EnvmgrError: It could not be done; the hint says what helps.
        """
        await replay(self._supervisor, actor, inc)  # what the assistant said while no daemon listened
        terminal = await _find(inc)
        secrets = await inc.secrets()  # a missing one is told before anything is ended
        actor.in_hand.add(ASSISTANT)
        try:
            if await self._is_done(inc, terminal, measure):
                return "the assistant is back, and at work"
            said = await self._anew(actor, inc, terminal, measure, secrets)
        finally:
            actor.in_hand.discard(ASSISTANT)
        await self._supervisor.apply(actor, SessionRestored(generation=inc.generation))
        return said

    async def _is_done(self, inc: Incarnation, terminal: Terminal | None, measure: Measure) -> bool:
        """An earlier daemon has got as far as the assistant's own word for the prompt."""
        if terminal is None or not await conversation.is_said_by(inc, measure.key):
            return False
        pane = await assistant.find_pane(inc)
        return pane is not None and not pane.dead

    async def _anew(
        self,
        actor: Actor,
        inc: Incarnation,
        terminal: Terminal | None,
        measure: Measure,
        secrets: Mapping[str, str],
    ) -> str:
        self._reach("rung-session-begun")
        await conversation.cut(inc, measure.key)
        saved = await self._save_screen(inc, terminal, secrets)
        await leaving.leave(inc, HandoffKind.CRASH, measure.because, publish=self._supervisor.bus.publish)
        await assistant.end_assistant(inc, grace_s=inc.spec.assistant.stop.grace_s, is_polite=False)
        self._reach("rung-session-ended")
        if terminal is not None and not _is_whole(terminal):
            await session.close_session(inc)
        is_new = terminal is None or not _is_whole(terminal)
        await blocking.act("file", write_env, inc)
        await session.open_session(inc)
        self._reach("rung-session-opened")
        await assistant.write_start(inc)
        mark = actor.reports.count
        await assistant.let_in(inc)
        self._reach("rung-session-started")
        if is_new:
            await session.furnish_panes(inc)
            await session.show_services(inc)
        state = await assistant.until_ready(inc, actor.reports, mark=mark)
        resent = await self._resend(actor, inc, state)
        self._reach("rung-session-done")
        parts = ["its session is new" if is_new else "its session stayed", "the assistant was started again"]
        parts += [resent] if resent else []
        parts += [f"its last screen is in {saved.name}"] if saved else []
        return ", ".join(parts)

    async def _resend(self, actor: Actor, inc: Incarnation, state: Activity | None) -> str:
        if not inc.assistant.reports:
            return ""
        if state is not Activity.READY:
            return "it asks something, so the prompt that was cut was not sent again"
        prompt = await conversation.resending(inc)
        if not prompt:
            return ""
        self._reach("rung-session-resending")
        try:
            await delivery.deliver(inc, prompt, actor.reports)
        except Unavailable as error:  # the assistant is back all the same
            return f"the prompt that was cut was not taken again: {error.message}"
        return "the prompt that was cut was sent again"

    async def _save_screen(
        self, inc: Incarnation, terminal: Terminal | None, secrets: Mapping[str, str]
    ) -> Path | None:
        """What the pane showed, with its history, as far as the terminal still tells."""
        if terminal is None or not terminal.agent_pane:
            return None
        try:
            text = await inc.systems.terminals.screen(terminal.agent_pane, history=_HISTORY_LINES)
        except EnvmgrError:
            return None
        if not text.strip():
            return None
        name = f"{inc.generation}-{int(inc.systems.now())}.txt"
        return await blocking.act("file", _keep, inc.home / "screens" / name, masked(text, secrets.values()))


def _is_whole(terminal: Terminal) -> bool:
    return all((terminal.agent_pane, terminal.services_pane, terminal.monitor_pane))


async def _find(inc: Incarnation) -> Terminal | None:
    """The session as it is now: ids of a server that was killed mean other panes of the next one."""
    inc.terminal = None
    match await inc.systems.terminals.look(inc.session, owner=inc.tag):
        case Present(terminal):
            inc.terminal = terminal
            return terminal
        case Absent():
            return None
        case Unknown(reason):
            raise Unobservable(
                f"the terminal server does not answer: {reason}",
                hint="Nothing was touched. See `envmgr doctor`.",
            )


def _keep(path: Path, text: str) -> Path:
    """Write it, and drop all but the newest. Blocking."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, text)
    for old in sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime)[:-_KEPT_SCREENS]:
        old.unlink(missing_ok=True)
    return path
