"""Operations on sessions: register, give a sign of life, and see who else is here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, StringConstraints

from envmgr.app import session_views as views
from envmgr.app.caller import Caller, caller
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.repo_paths import inside
from envmgr.app.shapes import Ask, option, supplied
from envmgr.core.overlap import overlap
from envmgr.core.targets import parse_target
from envmgr.model.principal import Scope
from envmgr.model.session import Session, SessionStatus
from envmgr.protocols.store import Transaction
from envmgr.services.session_parts import Beat
from envmgr.services.sessions import UNNAMED

_NO_NUL = r"^[^\x00]*$"
Word = Annotated[str, StringConstraints(max_length=100, pattern=_NO_NUL)]
_Status = Literal["active", "idle", "awaiting_input"]


class RegisterSession(Ask):
    """What others should know."""

    capabilities: list[Word] = option(
        "What you can be given to do, such as python or review", default=[], max_length=50
    )
    current_task: str = option("Id or words of what you are at", default="", max_length=500, pattern=_NO_NUL)
    session_id: str = option(
        "A name for this session, when you have several at once", default="", max_length=100, pattern=_NO_NUL,
        validation_alias=AliasChoices("session_id", "session"),
    )  # fmt: skip
    kind: str = option(
        "What you are, such as claude_code", default="", max_length=100, pattern=_NO_NUL,
        validation_alias=AliasChoices("kind", "agent_type"),
    )  # fmt: skip
    status: _Status = option("active, idle or awaiting_input", default="active")
    note: str = option("Anything else", default="", max_length=2000, pattern=_NO_NUL)
    model: str = option("Your model", default="", max_length=100, pattern=_NO_NUL)
    parent: str = option(
        "Who began this session", default="", max_length=100, pattern=_NO_NUL,
        validation_alias=AliasChoices("parent", "delegated_from"),
    )  # fmt: skip
    worktree: str = option(
        "Folder you work in, if envmgr has not made it", default="", max_length=1000, pattern=_NO_NUL
    )
    branch: str = option("Branch you work on", default="", max_length=300, pattern=_NO_NUL)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class Heartbeat(Ask):
    """What has changed; nothing need be given."""

    session_id: str = option(
        "As registered", default="", max_length=100, pattern=_NO_NUL, validation_alias=AliasChoices("session_id", "session")
    )  # fmt: skip
    status: Literal["", "active", "idle", "awaiting_input"] = option(
        "active, idle or awaiting_input", default=""
    )
    current_task: str | None = option("Id or words of what you are at", default=None, max_length=500)
    note: str | None = option("Anything that others should know", default=None, max_length=2000)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class Discover(Ask):
    """Which sessions."""

    capability: str = option("Only those that can do this", default="", max_length=100, pattern=_NO_NUL)
    status: Literal["", "active", "idle", "awaiting_input", "stale", "dead"] = option(
        "Only these; without it all that are not over", default=""
    )
    path: str = option(
        "Only those that have locked it, or something in it", default="", max_length=1000, pattern=_NO_NUL
    )
    everywhere: bool = option("Of all repositories", default=False)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


@operation(
    "session.register",
    route="POST /api/v1/sessions",
    gives=views.RegisteredView,
    text=views.registered,
    touch=Touch.WRITE,
    command="session register",
    scope=Scope.SESSIONS,
    tool="register_session",
    is_compact=True,
)
async def register(ask: RegisterSession, app: App) -> views.RegisteredView:
    """Register this session, so that others find it; agents that envmgr has spawned are known already and may say more."""
    who = await caller(app, ask.repo)
    named = ask.session_id or who.principal.session
    own = app.coordinator.sessions.agents.session(who.principal.agent) if who.principal.agent else None
    said = Session(
        principal=who.principal.id,
        session=named,
        name=who.principal.name,
        repo=who.repo,
        kind=ask.kind or (own.kind if own is not None else who.principal.kind.value),
        capabilities=tuple(dict.fromkeys(ask.capabilities)),
        current_task=ask.current_task,
        status=SessionStatus(ask.status),
        note=ask.note,
        model=ask.model or (own.model if own is not None else ""),
        parent=ask.parent,
        worktree=ask.worktree or (own.worktree if own is not None else ""),
        branch=ask.branch or (own.branch if own is not None else ""),
        life=own.life if own is not None and not named else "",
    )
    done = await app.coordinator.sessions.register(said)
    return views.RegisteredView(
        session_id=done.session,
        agent_id=done.principal,
        agent=done.name,
        stale_after_s=app.coordinator.sessions.rules.stale_s,
    )


@operation(
    "session.heartbeat",
    route="POST /api/v1/sessions/heartbeat",
    gives=views.PulseView,
    text=views.pulse,
    touch=Touch.WRITE,
    command="session heartbeat",
    scope=Scope.SESSIONS,
    tool="heartbeat",
    is_compact=True,
)
async def heartbeat(ask: Heartbeat, app: App) -> views.PulseView:
    """Say that you are alive, and hear what you should know: warnings, messages, and whether you must stop.

    Any other call, and any hook of a spawned agent, is a sign of life too.
    """
    who = await caller(app, ask.repo)
    beat = Beat(
        status=SessionStatus(ask.status) if ask.status else None, current_task=ask.current_task, note=ask.note
    )
    named = ask.session_id or who.principal.session
    done = await app.coordinator.sessions.heartbeat(who.principal, named, beat, repo=who.repo)
    return views.PulseView(
        session_id=done.session.session,
        status=done.session.status.value,
        warnings=list(done.warnings),
        messages=list(done.messages),
        must_stop=bool(done.must_stop),
        reason=done.must_stop,
    )


@operation(
    "session.discover",
    route="GET /api/v1/sessions",
    gives=views.SessionList,
    text=views.sessions,
    command="discover",
    scope=Scope.SESSIONS,
    tool="discover_agents",
    is_compact=True,
)
async def discover(ask: Discover, app: App) -> views.SessionList:
    """Show who else works on this repository: what each can do, is at, and holds."""
    who = await _whose(app, ask)
    is_over = ask.status in ("stale", "dead")
    found = await app.coordinator.sessions.discover(
        repo=who.repo if who is not None else "", has_over=is_over
    )
    held, tasks = await app.coordinator.ground.read(
        lambda tx: _held(tx, app, who.repo if who is not None else "")
    )
    path = inside([ask.path], who)[0] if ask.path and who is not None else ""
    at_path = await _at(app, who, path) if who is not None and path else frozenset()
    chosen = [
        one
        for one in found
        if (not ask.capability or ask.capability in one.capabilities)
        and (not ask.status or one.status == ask.status)
        and (not path or one.principal in at_path)
    ]
    return views.SessionList(
        agents=[
            views.session(
                one,
                locks=held.get((one.principal, one.session), ()),
                tasks=tasks.get((one.principal, one.session), ()),
            )
            for one in chosen
        ]
    )


async def _whose(app: App, ask: Discover) -> Caller | None:
    """None: of everybody."""
    return None if ask.everywhere and not ask.path else await caller(app, ask.repo)


def _held(
    tx: Transaction, app: App, repo: str
) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], list[str]]]:
    """Locks and tasks, by holder and session."""
    locks: dict[tuple[str, str], list[str]] = {}
    tasks: dict[tuple[str, str], list[str]] = {}
    for grant in app.coordinator.locks.held(tx, repo):
        for session in grant.sessions:
            locks.setdefault((grant.holder, "" if session == UNNAMED else session), []).append(grant.target)
    for task in tx.tasks.leased():
        tasks.setdefault((task.holder, task.session), []).append(task.name)
    return locks, tasks


async def _at(app: App, who: Caller, path: str) -> frozenset[str]:
    """Who has locked it, or something in it."""
    wanted = (parse_target(f"./{path}"), parse_target(f"./{path}/**"))
    held = await app.coordinator.ground.read(lambda tx: app.coordinator.locks.held(tx, who.repo))
    found = ((grant.holder, parse_target(grant.target)) for grant in held)
    return frozenset(holder for holder, target in found if any(overlap(target, one) for one in wanted))
