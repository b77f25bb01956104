"""What whoever takes a task should know: what is remembered about its like, and what the last one who had it left."""

from __future__ import annotations

from datetime import UTC, datetime

from envmgr.app.caller import Caller
from envmgr.app.context import App
from envmgr.core import handing_over
from envmgr.model.memory import MemoryFilter
from envmgr.services.queue.claiming import Claimed, Nothing
from envmgr.services.recalled import Question

_MEMORIES = 5
_TOKENS = 700
_QUESTION_CHARS = 1000


async def context(app: App, who: Caller, found: Claimed | Nothing) -> str:
    """For a prompt; empty when nothing is known."""
    if not isinstance(found, Claimed):
        return ""
    left = await app.coordinator.handoffs.read(who.repo, task=found.task.name)
    question = Question(
        text=f"{found.spec.type} {found.spec.description[:_QUESTION_CHARS]}",
        which=MemoryFilter(repo=who.repo),
        here=tuple(found.spec.locks),
        limit=_MEMORIES,
        token_budget=_TOKENS,
    )
    known = await app.coordinator.memory.recall(question, refreshes=False)
    parts = [f"What is remembered:\n{known.text}"] if known.hits else []
    for one in left:
        when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        parts.append(handing_over.text(one, when=when))
    return "\n\n".join(parts)
