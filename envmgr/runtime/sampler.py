"""Once a second, one look at all panes: who has ended, whose session is gone, whose hooks are silent."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio

from envmgr.core.masking import masked
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Activity, Source
from envmgr.model.incident import Part, Symptom
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.stimulus import (
    ActivityReported,
    AssistantExited,
    Fact,
    ObservationLost,
    ObservationRegained,
    SessionLost,
)
from envmgr.protocols.terminals import Pane
from envmgr.runtime import conversation
from envmgr.runtime.actor import ASSISTANT, Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.looking import secrets_of
from envmgr.runtime.reporting import Report, unheard
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_EVERY_S = 1.0
_SILENT_S = 3.0
_MUTE_LOOKS = 5
_LINES = 200
_AGAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Death:
    """How a process of a pane ended, with the end of its screen."""

    key: tuple[str, int, int | None, str]
    symptom: Symptom


class Sampler:
    """The status loop."""

    def __init__(self, supervisor: Supervisor, report: Report = unheard) -> None:
        """`report` hears of assistants that failed and sessions that are gone: at once, and again for as long as it is so."""
        self._supervisor, self._report = supervisor, report
        # By generation of an agent; what is not looked at any more is forgotten.
        self._missing: dict[str, int] = {}
        self._mute: dict[str, int] = {}
        self._deaths: dict[str, _Death] = {}
        self._said: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(_EVERY_S)
            try:
                await self.sample()
            except EnvmgrError as error:  # looked at again soon
                log.warning("sample failed", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("sample failed")

    async def sample(self) -> None:
        """One look. tmux is not asked when nobody runs."""
        running = [
            actor
            for actor in self._supervisor.actors()
            if actor.state.is_alive and ASSISTANT not in actor.in_hand and not actor.restoring
        ]
        self._forget_others({self._tag(actor) for actor in running})
        if not running:
            return
        match await self._supervisor.systems.terminals.panes():
            case Present(panes):
                by_id = {pane.id: pane for pane in panes}
                for actor in running:
                    await self._judge_one(actor, by_id)
            case Absent():
                for actor in running:
                    await self._count_missing(actor, "the terminal server is gone")
            case Unknown(reason):
                for actor in running:
                    lost = ObservationLost(generation=actor.state.generation, subject="tmux", reason=reason)
                    await self._supervisor.apply(actor, lost)

    async def _judge_one(self, actor: Actor, panes: dict[str, Pane]) -> None:
        try:
            await self._judge(actor, panes)
        except (
            EnvmgrError
        ) as error:  # such as a pane that went away between two questions; the others still count
            log.warning("agent not judged", extra={"agent": actor.state.id, "why": error.message})

    async def _judge(self, actor: Actor, panes: dict[str, Pane]) -> None:
        if any(c.type == "Unobservable" and c.subject == "tmux" for c in actor.state.conditions):
            again = ObservationRegained(generation=actor.state.generation, subject="tmux")
            await self._supervisor.apply(actor, again)
        inc = await self._supervisor.incarnation(actor)
        terminal = await inc.find_terminal()
        if ASSISTANT in actor.in_hand:
            return
        pane = panes.get(terminal.agent_pane) if terminal else None
        if pane is None or pane.owner != inc.tag:
            await self._count_missing(actor, "its session is not in the list of the terminal server")
            return
        self._missing.pop(inc.tag, None)
        if not pane.dead:
            self._said.pop(inc.tag, None)
            inc.pane_pid = inc.pane_pid or pane.pid  # another daemon began it
        for fact in await self._facts(actor, inc, pane):
            decision = await self._supervisor.apply(actor, fact)
            if isinstance(fact, AssistantExited) and fact.code != 0:
                symptom = await self._exited(inc, pane, fact)
                self._say(actor, symptom, is_news=not decision.ignored)

    async def _facts(self, actor: Actor, inc: Incarnation, pane: Pane) -> Sequence[Fact]:
        generation = inc.generation
        if pane.dead:
            is_earlier = inc.pane_pid not in (
                0,
                pane.pid,
            )  # the list is older than the assistant that runs now
            return [] if is_earlier else self._exit(pane, inc)
        if not inc.assistant.reports or not self._is_silent(actor):
            return []
        seen = inc.assistant.read_screen(await inc.systems.terminals.screen(pane.id))
        if seen.activity is None or seen.activity is actor.state.activity:
            return []
        if seen.activity is Activity.READY:
            await conversation.over(inc)
        return [
            ActivityReported(
                generation=generation, activity=seen.activity, source=Source.SCREEN, detail=seen.detail
            )
        ]

    def _exit(self, pane: Pane, inc: Incarnation) -> Sequence[Fact]:
        """tmux 3.3 sometimes tells that a pane died some time before it tells how; a few looks are worth the wait."""
        times = self._mute.get(inc.tag, 0) + 1
        if pane.exit_code is None and not pane.exit_signal and times < _MUTE_LOOKS:
            self._mute[inc.tag] = times
            return []
        self._mute.pop(inc.tag, None)
        return [AssistantExited(generation=inc.generation, code=pane.exit_code, signal=pane.exit_signal)]

    async def _exited(self, inc: Incarnation, pane: Pane, fact: AssistantExited) -> Symptom:
        """With the end of its screen, which often says why; that is read once."""
        key, known = (pane.id, pane.pid, fact.code, fact.signal), self._deaths.get(inc.tag)
        if known is None or known.key != key:
            self._said.pop(inc.tag, None)
            known = self._deaths[inc.tag] = _Death(key=key, symptom=await self._read(inc, pane, fact))
            return known.symptom
        return replace(known.symptom, at=inc.systems.steady())

    async def _read(self, inc: Incarnation, pane: Pane, fact: AssistantExited) -> Symptom:
        at, secrets = inc.systems.steady(), await secrets_of(inc)
        try:
            screen = await inc.systems.terminals.screen(pane.id)
        except EnvmgrError:  # the pane is gone meanwhile; its exit is known all the same
            screen = ""
        how = (
            f"signal {fact.signal}"
            if fact.signal
            else f"status {'unknown' if fact.code is None else fact.code}"
        )
        return Symptom(
            part=Part.ASSISTANT,
            words=f"the assistant exited with {how}",
            at=at,
            exit_code=fact.code,
            exit_signal=fact.signal or None,
            output=_lines(masked(screen, secrets.values())),
        )

    def _is_silent(self, actor: Actor) -> bool:
        """Busy or waiting by its own word, and quiet since: an interrupt by Esc fires no hook."""
        evidence = actor.state.evidence
        age = self._supervisor.systems.now() - evidence.at if evidence else _SILENT_S
        return actor.state.activity is not Activity.READY and age >= _SILENT_S

    async def _count_missing(self, actor: Actor, reason: str) -> None:
        """Absent counts only when seen twice in a row (R-15)."""
        tag = self._tag(actor)
        times = self._missing[tag] = self._missing.get(tag, 0) + 1
        if times >= 2:
            lost = SessionLost(generation=actor.state.generation, reason=reason)
            decision = await self._supervisor.apply(actor, lost)
            now = self._supervisor.systems.steady()
            symptom = Symptom(part=Part.SESSION, words=reason, at=now)
            self._say(actor, symptom, is_news=not decision.ignored)

    def _say(self, actor: Actor, symptom: Symptom, *, is_news: bool) -> None:
        """Once, and then at a calm pace: to mend what waits for something else costs next to nothing."""
        tag, now = self._tag(actor), self._supervisor.systems.steady()
        if is_news or now - self._said.get(tag, float("-inf")) >= _AGAIN_S:
            self._said[tag] = now
            self._report(actor, symptom)

    def _tag(self, actor: Actor) -> str:
        return f"{self._supervisor.instance}/{actor.state.id}/{actor.state.generation}"

    def _forget_others(self, tags: Collection[str]) -> None:
        memories: Sequence[dict[str, Any]] = (self._missing, self._mute, self._deaths, self._said)
        for memory in memories:
            for tag in memory.keys() - tags:
                del memory[tag]


def _lines(screen: str) -> tuple[str, ...]:
    """What the program has written; tmux writes below it that the pane is dead."""
    written = [line.rstrip() for line in screen.splitlines() if not line.startswith("Pane is dead")]
    return tuple("\n".join(written).strip().splitlines()[-_LINES:])
