"""What operations on handoffs give, and how people see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field

from envmgr.app.moments import moment
from envmgr.app.shapes import View
from envmgr.app.text import Style, clean, table
from envmgr.core import handing_over
from envmgr.model.handoff import Handoff, handoff_name


class WrittenView(View):
    """It is kept."""

    ok: bool = True
    success: bool = True
    handoff_id: str
    branch: str = ""
    head: str = ""
    snapshot: str = Field(
        default="", description="Git ref of the files with what is not committed; empty when all is"
    )
    locks: list[str] = Field(default=[], description="Targets that you held")
    transferred: list[str] = Field(default=[], description="Those that somebody else holds now")
    transferred_to: str = ""


class HandoffView(View):
    """One handoff."""

    handoff_id: str
    agent: str
    agent_id: str
    session_id: str = ""
    generation: int = 0
    kind: str = Field(description="written; or made by envmgr at a stop, crash or compaction")
    reason: str = ""
    summary: str
    completed: list[str] = []
    in_progress: list[str] = []
    decisions: list[str] = []
    next_steps: list[str] = []
    files: list[str] = []
    branch: str = ""
    head: str = ""
    snapshot: str = ""
    locks: list[str] = []
    tasks: list[str] = []
    transferred_to: str = ""
    tail: str = Field(default="", description="The end of the conversation or the screen")
    created_at: str
    id: str = Field(description="Same as handoff_id")
    agent_name: str = Field(description="Same as agent")
    completed_work: list[str] = Field(default=[], description="Same as completed")
    relevant_files: list[str] = Field(default=[], description="Same as files")


class HandoffList(View):
    """Handoffs, newest first."""

    ok: bool = True
    handoffs: list[HandoffView]
    text: str = Field(default="", description="The same for a prompt")


def name_of(one: Handoff) -> str:
    """What it is called."""
    return handoff_name(one.id)


def handoff(one: Handoff) -> HandoffView:
    """One of them."""
    return HandoffView(
        handoff_id=handoff_name(one.id),
        agent=one.agent_name or one.agent,
        agent_id=one.agent,
        session_id=one.session,
        generation=one.generation,
        kind=one.kind.value,
        reason=one.reason,
        summary=one.summary,
        completed=list(one.completed),
        in_progress=list(one.in_progress),
        decisions=list(one.decisions),
        next_steps=list(one.next_steps),
        files=list(one.files),
        branch=one.branch,
        head=one.head,
        snapshot=one.snapshot,
        locks=list(one.locks),
        tasks=list(one.tasks),
        transferred_to=one.transferred_to,
        tail=one.tail,
        created_at=moment(one.at),
        id=handoff_name(one.id),
        agent_name=one.agent_name or one.agent,
        completed_work=list(one.completed),
        relevant_files=list(one.files),
    )


def prompt(found: Sequence[Handoff]) -> str:
    """Ready to be read by a model."""
    return "\n\n".join(
        handing_over.text(one, when=datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M UTC"))
        for one in found
    )


def written(result: WrittenView, style: Style) -> str:
    """`envmgr handoff write`."""
    given = (
        f"; {len(result.transferred)} locks went to {clean(result.transferred_to)}"
        if result.transferred
        else ""
    )
    return f"{result.handoff_id} written{given}\n"


def handoffs(result: HandoffList, style: Style) -> str:
    """`envmgr handoff show`."""
    return f"{clean(result.text)}\n" if result.handoffs else "There is no handoff.\n"


def table_of(result: HandoffList, style: Style) -> str:
    """`envmgr handoff ls`."""
    if not result.handoffs:
        return "There is no handoff.\n"
    rows = [
        (
            one.handoff_id,
            one.created_at[:16].replace("T", " "),
            one.agent,
            one.kind,
            one.branch or "-",
            one.summary,
        )
        for one in result.handoffs
    ]
    return table(("ID", "WHEN (UTC)", "BY", "WHY", "BRANCH", "WHAT"), rows, style)
