"""Hook reports that came while no daemon listened: kept by the hook client, read at the next start."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from envmgr.aio import blocking
from envmgr.model.agent import Source
from envmgr.model.stimulus import ActivityReported
from envmgr.protocols.assistant import PENDING
from envmgr.runtime import conversation
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)


async def replay(supervisor: Supervisor, actor: Actor, inc: Incarnation) -> None:
    """Apply the newest of an agent's missed reports, if it is newer than what is recorded; drop the file."""
    path = inc.home / PENDING
    known = actor.state.evidence.at if actor.state.evidence else 0.0
    latest: ActivityReported | None = None
    for line in await blocking.look("file", 5.0, _read, path):
        understood = inc.assistant.understand(str(line.get("hook")), _payload(line))
        if line.get("generation") != inc.generation:
            continue
        await conversation.hear(inc, understood)
        if understood.activity is not None and _at(line) > known:
            latest = ActivityReported(
                generation=inc.generation,
                activity=understood.activity,
                source=Source.HOOK,
                detail=understood.detail,
            )
    if latest is not None:
        await supervisor.apply(actor, latest)
    await blocking.act("file", path.unlink, missing_ok=True)


def _read(path: Path) -> list[dict[str, object]]:
    return list(_lines(path)) if path.exists() else []


def _lines(path: Path) -> Iterator[dict[str, object]]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            log.warning("missed report is not readable", extra={"file": path.name})
            continue
        if isinstance(line, dict):
            yield line


def _payload(line: dict[str, object]) -> dict[str, object]:
    payload = line.get("payload")
    return payload if isinstance(payload, dict) else {}


def _at(line: dict[str, object]) -> float:
    at = line.get("at")
    return float(at) if isinstance(at, (int, float)) else 0.0
