"""What whoever takes a task should know: what is remembered about its like, and what the last one who had it left."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from envmgr.app.context import App
from envmgr.core import handing_over
from envmgr.errors import EnvmgrError
from envmgr.model.memory import MemoryFilter
from envmgr.services.coordination import Coordination
from envmgr.services.queue.claiming import Claimed, Nothing
from envmgr.services.recalled import Question

log = logging.getLogger(__name__)

_MEMORIES = 5
_TOKENS = 700
_QUESTION_CHARS = 1000


async def context(app: App, found: Claimed | Nothing) -> str:
    """For a prompt; empty when nothing is known, or can be found out: the task is claimed, and whoever has it must hear of that."""
    if not isinstance(found, Claimed):
        return ""
    try:
        return await known(app.coordinator, found)
    except EnvmgrError as error:
        log.warning("no context for a task", extra={"task": found.task.name, "why": error.message})
        return ""


async def known(services: Coordination, found: Claimed) -> str:
    """As `context`, for whoever has no app."""
    repo = found.task.repo
    had = found.task.attempts > 1
    left = await services.handoffs.read(repo, task=found.task.name) if had else ()
    question = Question(
        text=f"{found.spec.type} {found.spec.description[:_QUESTION_CHARS]}",
        which=MemoryFilter(repo=repo),
        here=tuple(found.spec.locks),
        limit=_MEMORIES,
        token_budget=_TOKENS,
    )
    hits = await services.memory.recall(question, refreshes=False)
    parts = [f"What is remembered:\n{hits.text}"] if hits.hits else []
    for one in left:
        when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        parts.append(handing_over.text(one, when=when))
    return "\n\n".join(parts)
