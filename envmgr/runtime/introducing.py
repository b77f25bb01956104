"""What an assistant is told at its start: why it was started again, and what the last session left."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from envmgr.aio import blocking
from envmgr.core import handing_over
from envmgr.errors import EnvmgrError
from envmgr.model.handoff import Handoff, HandoffKind
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation

log = logging.getLogger(__name__)

_OLDEST_S = 30 * 86_400.0
_MOST_CHARS = 9000
_READ_S = 5.0
_HEAD = (
    "# What the last session left\n\nIt is what was known then; look at the files before you rely on it.\n"
)


def note_file(inc: Incarnation, generation: int) -> Path:
    """Why a generation was started by envmgr; there after a respawn."""
    return inc.home / f"respawned-{generation}.md"


def handoff_file(inc: Incarnation, generation: int) -> Path:
    """What the assistant of a generation should know from the start."""
    return inc.home / f"handoff-{generation}.md"


async def introduction(inc: Incarnation) -> str:
    """All there is to say; empty when that is nothing."""
    left = "\n\n".join(_text(one) for one in await _left(inc))
    note = await blocking.look("file", _READ_S, _read, note_file(inc, inc.generation))
    parts = [note] if note else []
    parts += [f"{_HEAD}\n{left}\n"] if left else []
    return handing_over.cut("\n".join(parts), _MOST_CHARS)


async def _left(inc: Incarnation) -> Sequence[Handoff]:
    """The newest handoff for whoever goes on with this agent, branch or copy; with the agent's own words, if they are another."""
    try:
        return await inc.systems.store.read(lambda tx: _newest(tx, inc))
    except EnvmgrError as error:  # an assistant can begin without
        log.warning("no handoff read", extra={"agent": inc.id, "why": error.message})
        return ()


def _newest(tx: Transaction, inc: Incarnation) -> Sequence[Handoff]:
    since_at = inc.systems.now() - _OLDEST_S
    for agent, branch in _places(inc):
        known = tx.handoffs.newest(repo=inc.spec.repo, agent=agent, branch=branch, limit=10)
        if found := [handoff for handoff in known if handoff.at >= since_at]:
            own = [handoff for handoff in found if handoff.kind is HandoffKind.WRITTEN]
            return list(dict.fromkeys([found[0], *own[:1]]))
    return ()


def _places(inc: Incarnation) -> Sequence[tuple[str, str]]:
    """Agents and branches to look for, first to last."""
    origin = inc.spec.origin.agent if inc.spec.origin is not None else ""
    # Its own branch is a new one; the one that it begins from may be another agent's.
    base = inc.spec.workspace.base if inc.spec.workspace.base != "HEAD" else ""
    return [place for place in ((str(inc.id), ""), (origin, ""), ("", base)) if any(place)]


def _text(handoff: Handoff) -> str:
    when = datetime.fromtimestamp(handoff.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return handing_over.text(handoff, when=when)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
