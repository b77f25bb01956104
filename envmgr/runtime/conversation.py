"""What an assistant is told and has not answered yet, and the conversation that belongs to: kept, so that nothing is lost or said twice.

A prompt is noted before it is delivered and forgotten when the assistant says that its turn is over. When the assistant is lost in
between, the note is *cut*; who brings the assistant back says the prompt again, once: `RESENDING` is written before, and after that
only the assistant's own word (or its proven silence) decides.
"""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import asdict, dataclass
from enum import StrEnum

from envmgr.core.placeholders import escape, render
from envmgr.errors import EnvmgrError
from envmgr.model.ids import AgentId
from envmgr.protocols.assistant import Report
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation

log = logging.getLogger(__name__)

_NAMESPACE = uuid.UUID("6f0c3f1e-5a0e-4c39-9d0c-3e3c1b6c7e55")
_MIN_SECRET_CHARS = 4


class Phase(StrEnum):
    """How far a prompt has come."""

    SENDING = "sending"
    UNDER_WAY = "under_way"
    CUT = "cut"
    RESENDING = "resending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt that is not answered; values of secrets in it are references again."""

    text: str
    phase: Phase


# --- the conversation -----------------------------------------------------------------------------------------


async def current(inc: Incarnation) -> str:
    """Id of the conversation that the assistant is to go on with, or to begin; empty when any new one will do."""
    if not inc.assistant.converses or inc.spec.assistant.resume != "auto":
        return ""
    known = await inc.systems.store.read(lambda tx: tx.get(_talk(inc.id)))
    # The first one follows from who it is, so that nothing is lost when the daemon dies before it could be stored.
    return known or str(uuid.uuid5(_NAMESPACE, inc.owner))


async def hear(inc: Incarnation, report: Report) -> None:
    """Note what a hook call says of prompts and conversation."""
    if not (report.conversation or report.prompt or report.ends_turn):
        return
    text = await _sealed(inc, report.prompt) if report.prompt else ""

    def note(tx: Transaction) -> None:
        if report.conversation and tx.get(_talk(inc.id)) != report.conversation:
            tx.put(_talk(inc.id), report.conversation)
        before = _read(tx, inc.id)
        if report.ends_turn and before is not None and before.phase is not Phase.CUT:
            tx.drop(_turn(inc.id))
        elif report.prompt:
            # What envmgr is delivering is known better than a hook tells it.
            is_ours = before is not None and before.phase in (Phase.SENDING, Phase.RESENDING)
            _write(tx, inc.id, before.text if before is not None and is_ours else text, Phase.UNDER_WAY)

    await inc.systems.store.write(note)


async def _sealed(inc: Incarnation, text: str) -> str:
    """In late form: what stands for a secret is its name."""
    sealed = escape(text)
    try:
        secrets = await inc.secrets()
    except EnvmgrError as error:
        log.warning("prompt not kept", extra={"agent": inc.id, "why": error.message})
        return ""  # a value could not be told from other text
    for name, value in sorted(secrets.items(), key=lambda one: len(one[1]), reverse=True):
        if len(value) >= _MIN_SECRET_CHARS:
            sealed = sealed.replace(escape(value), f"${{secrets.{name}}}")
    return sealed


# --- prompts --------------------------------------------------------------------------------------------------


async def sending(inc: Incarnation, text: str) -> None:
    """A prompt is about to be delivered. One that is under way stays noted until the assistant takes the new one."""
    if not inc.assistant.reports:
        return
    sealed = await _sealed(inc, text)

    def note(tx: Transaction) -> None:
        before = _read(tx, inc.id)
        if before is None or before.phase is Phase.SENDING:
            _write(tx, inc.id, sealed, Phase.SENDING)

    await inc.systems.store.write(note)


async def taken(inc: Incarnation) -> None:
    """It was delivered; a turn that has already ended stays ended."""
    await _move(inc, (Phase.SENDING, Phase.RESENDING), Phase.UNDER_WAY)


async def not_taken(inc: Incarnation) -> None:
    """It stands in the input line: a person decides."""
    await _move(inc, (Phase.SENDING, Phase.RESENDING), None)


async def unsaid(inc: Incarnation) -> None:
    """What was to be said again was surely not submitted: it stays cut."""
    await _move(inc, (Phase.RESENDING,), Phase.CUT)


async def over(inc: Incarnation) -> None:
    """The turn has ended, as the screen shows; one that was cut is not over."""
    await _move(inc, (Phase.SENDING, Phase.UNDER_WAY), None)


async def cut(inc: Incarnation, measure: str) -> None:
    """The assistant was lost, and is now brought back by a measure, which after a crash of the daemon may say so again.

    What is under way then, the measure itself has said. What it was saying and the assistant has not taken was never said: it
    goes with the assistant's input line.
    """

    def note(tx: Transaction) -> None:
        is_again = tx.get(_cut(inc.id)) == measure
        tx.put(_cut(inc.id), measure)
        before = _read(tx, inc.id)
        if before is not None and not (is_again and before.phase is Phase.UNDER_WAY):
            _write(tx, inc.id, before.text, Phase.CUT)

    await inc.systems.store.write(note)


async def is_said_by(inc: Incarnation, measure: str) -> bool:
    """Whether this measure has brought the assistant back and said the cut prompt again, and it is under way."""
    known, prompt = await inc.systems.store.read(lambda tx: (tx.get(_cut(inc.id)), _read(tx, inc.id)))
    return known == measure and prompt is not None and prompt.phase is Phase.UNDER_WAY


async def resending(inc: Incarnation) -> str:
    """The cut prompt, which is now said again; empty when there is none. Two that ask do not both get it."""

    def claim(tx: Transaction) -> Prompt | None:
        before = _read(tx, inc.id)
        if before is None or before.phase is not Phase.CUT:
            tx.drop(_turn(inc.id))  # of an earlier life
            return None
        _write(tx, inc.id, before.text, Phase.RESENDING)
        return before

    values = {f"secrets.{name}": value for name, value in (await inc.secrets()).items()}
    claimed = await inc.systems.store.write(claim)
    if claimed is None or not claimed.text:
        return ""
    return render(claimed.text, values, shell=False)


async def pending(inc: Incarnation) -> Prompt | None:
    """The prompt that is not answered yet."""
    return await inc.systems.store.read(lambda tx: _read(tx, inc.id))


def forget(tx: Transaction, agent: AgentId) -> None:
    """The person has stopped it: what it was doing is given up."""
    tx.drop(_turn(agent))
    tx.drop(_cut(agent))


def forget_all(tx: Transaction, agent: AgentId) -> None:
    """The agent is removed."""
    forget(tx, agent)
    tx.drop(_talk(agent))


async def _move(inc: Incarnation, before: tuple[Phase, ...], after: Phase | None) -> None:
    if not inc.assistant.reports:
        return

    def move(tx: Transaction) -> None:
        known = _read(tx, inc.id)
        if known is None or known.phase not in before:
            return
        if after is None:
            tx.drop(_turn(inc.id))
        else:
            _write(tx, inc.id, known.text, after)

    await inc.systems.store.write(move)


def _read(tx: Transaction, agent: AgentId) -> Prompt | None:
    noted = tx.get(_turn(agent))
    if noted is None:
        return None
    said = json.loads(noted)
    return Prompt(text=str(said["text"]), phase=Phase(said["phase"]))


def _write(tx: Transaction, agent: AgentId, text: str, phase: Phase) -> None:
    tx.put(_turn(agent), json.dumps(asdict(Prompt(text=text, phase=phase))))


def _talk(agent: AgentId) -> str:
    return f"conversation/{agent}"


def _turn(agent: AgentId) -> str:
    return f"prompt/{agent}"


def _cut(agent: AgentId) -> str:
    return f"cut/{agent}"
