"""What operations on sessions give, and how people see it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from envmgr.app.moments import moment
from envmgr.app.shapes import View
from envmgr.app.text import Style, clean, table
from envmgr.model.session import Session

_COLOURS = {"stale": "amber", "awaiting_input": "amber", "dead": "red", "active": "green"}


class RegisteredView(View):
    """It is known now."""

    ok: bool = True
    success: bool = True
    session_id: str
    agent_id: str
    agent: str
    stale_after_s: float = Field(description="Without a sign of life for so long, it counts as gone")


class PulseView(View):
    """What a session should know."""

    ok: bool = True
    success: bool = True
    session_id: str
    status: str
    warnings: list[str] = Field(default=[], description="What others do that concerns you")
    messages: list[str] = Field(default=[], description="What has happened to you since you were told last")
    must_stop: bool = Field(default=False, description="Write a handoff and stop")
    reason: str = ""


class SessionView(View):
    """One session."""

    agent_id: str
    agent: str
    session_id: str = ""
    agent_type: str
    status: str
    capabilities: list[str] = []
    current_task: str = ""
    tasks: list[str] = Field(default=[], description="Tasks that it has claimed")
    locks: list[str] = Field(default=[], description="Targets that it holds")
    note: str = ""
    worktree: str = ""
    branch: str = ""
    model: str = ""
    delegated_from: str = ""
    repo: str
    started_at: str
    last_heartbeat: str
    reason: str = Field(default="", description="Why it is over")


class SessionList(View):
    """Who is here."""

    ok: bool = True
    agents: list[SessionView]


def session(one: Session, *, locks: Sequence[str], tasks: Sequence[str]) -> SessionView:
    """One of them."""
    return SessionView(
        agent_id=one.principal,
        agent=one.name,
        session_id=one.session,
        agent_type=one.kind,
        status=one.status.value,
        capabilities=list(one.capabilities),
        current_task=one.current_task or ", ".join(tasks),
        tasks=list(tasks),
        locks=list(locks),
        note=one.note,
        worktree=one.worktree,
        branch=one.branch,
        model=one.model,
        delegated_from=one.parent,
        repo=one.repo,
        started_at=moment(one.at),
        last_heartbeat=moment(one.last_at),
        reason=one.reason,
    )


def registered(result: RegisteredView, style: Style) -> str:
    """`envmgr session register`."""
    return f"{clean(result.agent)} is registered{f' as {clean(result.session_id)}' if result.session_id else ''}\n"


def pulse(result: PulseView, style: Style) -> str:
    """`envmgr session heartbeat`."""
    lines = [f"must stop: {result.reason}"] if result.must_stop else []
    lines += [f"warning: {line}" for line in result.warnings] + list(result.messages)
    return "".join(f"{clean(line)}\n" for line in lines) or f"{result.status}\n"


def sessions(result: SessionList, style: Style) -> str:
    """`envmgr discover`."""
    if not result.agents:
        return "Nobody is here.\n"
    rows = [
        (
            one.agent + (f"/{one.session_id}" if one.session_id else ""),
            one.status,
            ",".join(one.capabilities) or "-",
            one.branch or "-",
            str(len(one.locks)),
            one.current_task or one.note or "-",
        )
        for one in result.agents
    ]
    colours = [_COLOURS.get(one.status, "") for one in result.agents]
    return table(("WHO", "STATUS", "CAN", "BRANCH", "LOCKS", "AT"), rows, style, colours)
