"""What operations on memories give, and how people see it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import Field

from envmgr.app.moments import moment
from envmgr.app.shapes import View
from envmgr.app.text import Style, clean, table
from envmgr.core.recalling import DAY_S, Hit
from envmgr.model.memory import Memory, memory_name


class RememberedView(View):
    """What became of it."""

    ok: bool = True
    success: bool = True
    memory_id: str
    action: str = Field(description="created or deduplicated")
    deduplicated: bool = Field(description="It was known already; the id is the known one's")
    contradicts: list[str] = Field(
        default=[], description="Others that say something different about the same"
    )
    superseded: str = Field(default="", description="The one whose place it has taken")


class MemoryView(View):
    """One memory."""

    memory_id: str
    event_type: str
    summary: str
    details: str = ""
    outcome: str
    lessons: list[str] = []
    tags: list[str] = []
    files: list[str] = []
    importance: float
    pinned: bool = False
    agent: str = Field(description="Who remembered it")
    agent_id: str
    task_id: str = ""
    commit: str = ""
    created_at: str
    age_days: float
    superseded_by: str = ""
    score: float | None = Field(default=None, description="Share of the best one's relevance")
    relevance_score: float | None = Field(default=None, description="Same as score")
    id: str = Field(default="", description="Same as memory_id")
    contradicts: list[str] = []


class RecalledView(View):
    """What is known."""

    ok: bool = True
    memories: list[MemoryView]
    text: str = Field(description="The same for a prompt, within the token budget")
    truncated: bool = Field(default=False, description="There was more than fits into the token budget")


class MemoryList(View):
    """Memories, newest first."""

    ok: bool = True
    memories: list[MemoryView]


class ForgottenView(View):
    """What is gone."""

    ok: bool = True
    memory_id: str
    summary: str
    dry_run: bool = False


def plain(details: Mapping[str, object]) -> str:
    """Details that came as data, as text that can be searched."""
    return json.dumps(details, ensure_ascii=False, sort_keys=True)


def memory(hit: Hit, now: float) -> MemoryView:
    """One that was recalled."""
    view, score = listed(hit.memory, now), round(hit.score, 4)
    return view.model_copy(
        update={
            "score": score,
            "relevance_score": score,
            "contradicts": [memory_name(n) for n in hit.contradicts],
        }
    )


def listed(memory: Memory, now: float) -> MemoryView:
    """One of them."""
    return MemoryView(
        memory_id=memory_name(memory.id),
        id=memory_name(memory.id),
        event_type=memory.event_type,
        summary=memory.summary,
        details=memory.details,
        outcome=memory.outcome.value,
        lessons=list(memory.lessons),
        tags=list(memory.tags),
        files=list(memory.files),
        importance=memory.importance,
        pinned=memory.is_pinned,
        agent=memory.agent_name or memory.agent,
        agent_id=memory.agent,
        task_id=memory.task,
        commit=memory.commit,
        created_at=moment(memory.at),
        age_days=round(max(0.0, now - memory.at) / DAY_S, 3),
        superseded_by=memory_name(memory.superseded_by) if memory.superseded_by else "",
    )


def remembered(result: RememberedView, style: Style) -> str:
    """`envmgr memory add`."""
    if result.deduplicated:
        instead = f", and stands in the place of {result.superseded} now" if result.superseded else ""
        return f"{result.memory_id} says that already{instead}\n"
    said = f"{result.memory_id} remembered\n"
    if result.superseded:
        said = f"{result.memory_id} remembered in the place of {result.superseded}\n"
    if result.contradicts:
        said += f"  says otherwise than {', '.join(result.contradicts)}; if it is right, remember it with --supersedes\n"
    return said


def recalled(result: RecalledView, style: Style) -> str:
    """`envmgr memory search`."""
    return f"{clean(result.text)}\n" if result.memories else "Nothing is known about that.\n"


def memories(result: MemoryList, style: Style) -> str:
    """`envmgr memory ls`."""
    if not result.memories:
        return "Nothing is remembered yet.\n"
    rows = [
        (one.memory_id, f"{one.age_days:.0f}d", one.agent, one.event_type, ",".join(one.tags), one.summary)
        for one in result.memories
    ]
    return table(("ID", "AGE", "BY", "KIND", "TAGS", "WHAT"), rows, style)


def forgotten(result: ForgottenView, style: Style) -> str:
    """`envmgr memory forget`."""
    return f"{'would forget' if result.dry_run else 'forgot'} {result.memory_id}: {clean(result.summary)}\n"
