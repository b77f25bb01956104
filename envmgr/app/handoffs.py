"""Operations on handoffs: what one session leaves to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import AliasChoices, StringConstraints

from envmgr.app import handoff_views as views
from envmgr.app.caller import Caller, caller
from envmgr.app.context import App
from envmgr.app.lock_looks import receiver
from envmgr.app.operations import Touch, operation
from envmgr.app.repo_paths import inside
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.errors import Denied, EnvmgrError
from envmgr.model.handoff import Handoff
from envmgr.model.principal import AGENT_SCOPES, Principal, PrincipalKind, Scope
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leaving import handoff_ref
from envmgr.runtime.saving import worktree_of
from envmgr.runtime.secrecy import values_of

_NO_NUL = r"^[^\x00]*$"
Line = Annotated[str, StringConstraints(max_length=4000, pattern=_NO_NUL)]
Path = Annotated[str, StringConstraints(max_length=1000, pattern=_NO_NUL)]
_SECRETS_S = 2.0
_MOST = 100


class WriteHandoff(Ask):
    """Where the work stands."""

    summary: str = argument(
        "What was done and how it stands, in a few sentences", min_length=1, max_length=8000,
        pattern=r"^[^\x00]*\S[^\x00]*$",
    )  # fmt: skip
    completed: list[Line] = option(
        "What is done", default=[], max_length=_MOST, validation_alias=AliasChoices("completed", "completed_work")
    )  # fmt: skip
    in_progress: list[Line] = option("What is begun and not done", default=[], max_length=_MOST)
    decisions: list[Line] = option("What was decided, and why", default=[], max_length=_MOST)
    next_steps: list[Line] = option("What comes next", default=[], max_length=_MOST)
    files: list[Path] = option(
        "Paths that matter", default=[], max_length=500, validation_alias=AliasChoices("files", "relevant_files")
    )  # fmt: skip
    task_id: str = option("The task it is about", default="", max_length=100, pattern=_NO_NUL)
    to_agent: str = option(
        "Whom it is for: an agent's name or id", default="", max_length=100, pattern=_NO_NUL
    )
    transfer_locks: bool = option("Give your locks to that agent", default=False)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class ReadHandoff(Ask):
    """Which handoff."""

    handoff_id: str = argument(
        "One, such as h-000012; the newest that fits when left out",
        default="",
        max_length=40,
        pattern=_NO_NUL,
    )
    agent: str = option(
        "Only of this agent, by name or id", default="", max_length=100, pattern=_NO_NUL,
        validation_alias=AliasChoices("agent", "agent_name"),
    )  # fmt: skip
    task_id: str = option(
        "Only about this task", default="", max_length=100, pattern=_NO_NUL, validation_alias=AliasChoices("task_id", "task")
    )  # fmt: skip
    branch: str = option("Only about this branch", default="", max_length=300, pattern=_NO_NUL)
    limit: int = option("At most so many, newest first", default=1, ge=1, le=50)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class ListHandoffs(Ask):
    """Which handoffs."""

    agent: str = argument("Only of this agent, by name or id", default="", max_length=100, pattern=_NO_NUL)
    task_id: str = option("Only about this task", default="", max_length=100, pattern=_NO_NUL)
    before: str = option("Only older ones than this", default="", max_length=40, pattern=_NO_NUL)
    limit: int = option("At most so many, newest first", default=20, ge=1, le=500)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


@operation(
    "handoff.write",
    route="POST /api/v1/handoffs",
    gives=views.WrittenView,
    text=views.written,
    touch=Touch.WRITE,
    command="handoff write",
    scope=Scope.HANDOFFS,
    tool="write_handoff",
    is_compact=True,
)
async def write(ask: WriteHandoff, app: App) -> views.WrittenView:
    """Leave a handoff for whoever goes on: branch, head, locks, tasks and what is not committed are noted by envmgr.

    One is written for you when you are stopped, crash, or your conversation is shortened.
    """
    who = await caller(app, ask.repo)
    to = _named(app, ask.to_agent) if ask.to_agent else None
    if ask.transfer_locks and to is not None:
        _check_transfer(app, who, to)
    draft = Handoff(
        repo=who.repo,
        agent=who.principal.id,
        agent_name=who.principal.name,
        session=who.principal.session,
        generation=who.actor.state.generation if who.actor is not None else 0,
        summary=ask.summary,
        completed=tuple(ask.completed),
        in_progress=tuple(ask.in_progress),
        decisions=tuple(ask.decisions),
        next_steps=tuple(ask.next_steps),
        files=inside(ask.files, who),
        tasks=(ask.task_id,) if ask.task_id else (),
    )
    secrets: frozenset[str] = frozenset()
    if who.actor is not None:
        inc = await app.agents.incarnation(who.actor)
        secrets = (await values_of(inc, within_s=_SECRETS_S)).known
        draft = await _with_git(draft, inc)
    done = await app.coordinator.handoffs.write(
        draft, by=who.principal, to=to, transfers_locks=ask.transfer_locks, secrets=secrets
    )
    return views.WrittenView(
        handoff_id=views.name_of(done.handoff),
        branch=done.handoff.branch,
        head=done.handoff.head,
        snapshot=done.handoff.snapshot,
        locks=list(done.handoff.locks),
        transferred=list(done.transferred),
        transferred_to=done.handoff.transferred_to,
    )


@operation(
    "handoff.read",
    route="GET /api/v1/handoffs/newest",
    gives=views.HandoffList,
    text=views.handoffs,
    command="handoff show",
    scope=Scope.HANDOFFS,
    tool="read_handoff",
    is_compact=True,
)
async def read(ask: ReadHandoff, app: App) -> views.HandoffList:
    """Read what the last session left, newest first; by id, agent, task or branch, or the newest of the repository."""
    who = await caller(app, ask.repo)
    handoffs = app.coordinator.handoffs
    if ask.handoff_id:
        found = [await handoffs.one(who.repo, ask.handoff_id)]
    else:
        found = list(
            await handoffs.read(
                who.repo, agent=ask.agent, task=ask.task_id, branch=ask.branch, limit=ask.limit
            )
        )
    return views.HandoffList(handoffs=[views.handoff(one) for one in found], text=views.prompt(found))


@operation(
    "handoff.list",
    route="GET /api/v1/handoffs",
    gives=views.HandoffList,
    text=views.table_of,
    command="handoff ls",
    scope=Scope.HANDOFFS,
    tool="list_handoffs",
)
async def listed(ask: ListHandoffs, app: App) -> views.HandoffList:
    """List handoffs of this repository, newest first."""
    who = await caller(app, ask.repo)
    found = await app.coordinator.handoffs.read(
        who.repo, agent=ask.agent, task=ask.task_id, before=ask.before, limit=ask.limit
    )
    return views.HandoffList(handoffs=[views.handoff(one) for one in found])


def _named(app: App, name: str) -> Principal:
    """Raises NotFound."""
    state = app.agents.find(name).state
    return Principal(
        kind=PrincipalKind.AGENT, name=state.name, agent=state.id, scopes=frozenset(AGENT_SCOPES)
    )


def _check_transfer(app: App, who: Caller, to: Principal) -> None:
    """Raises Denied or Conflict: with the handoff as without it, locks go only where they can."""
    if not who.principal.may(Scope.LOCKS):
        raise Denied(
            f"{who.principal.name} may not give locks away: its key lacks the scope {Scope.LOCKS}",
            hint="Write the handoff without `transfer_locks`.",
        )
    receiver(app, to.name, repo=who.repo)


async def _with_git(draft: Handoff, inc: Incarnation) -> Handoff:
    """With branch, head, and the files as they are; what git cannot tell now is left out."""
    try:
        worktree = await worktree_of(inc)
        git = inc.systems.workspaces
        draft = replace(
            draft, branch=worktree.branch, head=await git.resolve(inc.repo, f"refs/heads/{worktree.branch}")
        )
        work = await git.work(worktree)
        files = tuple(dict.fromkeys((*draft.files, *work.changed[:50])))
        draft = replace(draft, files=files)
        if work.changed:
            await git.snapshot(worktree, handoff_ref(inc))
            draft = replace(draft, snapshot=handoff_ref(inc))
    except EnvmgrError:
        pass
    return draft
