"""Operations on what agents remember for each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints

from envmgr.app import memory_views as views
from envmgr.app.caller import Caller, caller
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.repo_paths import inside
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.app.spans import seconds
from envmgr.errors import EnvmgrError, Invalid
from envmgr.model.memory import Memory, MemoryFilter, Outcome, memory_name
from envmgr.model.principal import Scope
from envmgr.runtime.secrecy import values_of
from envmgr.services.recalled import Question

_NO_NUL = r"^[^\x00]*$"
Line = Annotated[str, StringConstraints(max_length=2000, pattern=_NO_NUL)]
Word = Annotated[str, StringConstraints(max_length=100, pattern=_NO_NUL)]
Path = Annotated[str, StringConstraints(max_length=1000, pattern=_NO_NUL)]
# A single one may come without its list.
Words = Annotated[list[Word], BeforeValidator(lambda said: [said] if isinstance(said, str) else said)]
_OUTCOMES = {"success": Outcome.POSITIVE, "failure": Outcome.NEGATIVE}
_SECRETS_S = 2.0
_MOST_DETAILS = 20_000


class Remember(Ask):
    """What happened, and what was learned."""

    summary: str = argument(
        "In a sentence or two", min_length=1, max_length=2000, pattern=r"^[^\x00]*\S[^\x00]*$"
    )
    event_type: str = option(
        "Such as discovery, decision, error, success, optimization", default="discovery", max_length=40,
        pattern=r"^[a-z][a-z0-9_.-]*$",
    )  # fmt: skip
    details: str | dict[str, object] = option("More about it", default="", max_length=_MOST_DETAILS)
    outcome: Literal["", "positive", "negative", "neutral", "success", "failure"] = option(
        "positive, negative or neutral", default=""
    )
    lessons: list[Line] = option("What to do, or not to do, next time", default=[], max_length=20)
    tags: list[Word] = option("Words to find it by", default=[], max_length=50)
    files: list[Path] = option(
        "Paths that it is about", default=[], max_length=100,
        validation_alias=AliasChoices("files", "relevant_files", "file_paths"),
    )  # fmt: skip
    importance: float = option("0 to 1", default=0.5, ge=0, le=1)
    pin: bool = option("It counts more than others, however old", default=False)
    supersedes: str = option(
        "Id of the memory whose place it takes", default="", max_length=40, pattern=_NO_NUL
    )
    task_id: str = option("The task in which it was learned", default="", max_length=100, pattern=_NO_NUL)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class Recall(Ask):
    """What is to be found."""

    query: str = argument(
        "Any words: a question, names in the code, a path", default="", max_length=4000, pattern=_NO_NUL
    )
    event_types: Words = option(
        "Only these", default=[], max_length=20, validation_alias=AliasChoices("event_types", "event_type")
    )  # fmt: skip
    tags: list[Word] = option("Only those with one of these", default=[], max_length=50)
    files: list[Path] = option(
        "Only those about one of these files, or about files in these folders", default=[], max_length=100,
        validation_alias=AliasChoices("files", "relevant_files", "file_paths"),
    )  # fmt: skip
    near: list[Path] = option(
        "Paths you are working on: memories about them come first", default=[], max_length=100
    )
    since: str = option("Only those from the last 6h, 2d, ...", default="", max_length=20, pattern=_NO_NUL)
    superseded: bool = option("Also those whose place another one has taken", default=False)
    min_relevance: float = Field(
        default=0.0, ge=0, le=1, description="Only with this share of the best score"
    )
    limit: int = option("At most so many", default=10, ge=1, le=100)
    token_budget: int = option("Length of `text`, in tokens of a model", default=1500, ge=50, le=50_000)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class ListMemories(Ask):
    """Which memories."""

    tags: list[Word] = option("Only those with one of these", default=[], max_length=50)
    files: list[Path] = option("Only those about one of these files or folders", default=[], max_length=100)
    mine: bool = option("Only my own", default=False)
    superseded: bool = option("Also those whose place another one has taken", default=False)
    limit: int = option("At most so many", default=50, ge=1, le=1000)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class Forget(Ask):
    """Which memory."""

    memory_id: str = argument("Such as m-000012", max_length=40, pattern=_NO_NUL)
    dry_run: bool = option("Only tell what would be forgotten", default=False)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


@operation(
    "memory.remember",
    route="POST /api/v1/memory",
    gives=views.RememberedView,
    text=views.remembered,
    touch=Touch.WRITE,
    command="memory add",
    scope=Scope.MEMORY,
    tool="remember",
    is_compact=True,
)
async def remember(ask: Remember, app: App) -> views.RememberedView:
    """Remember what was learned, for everybody who works on this repository.

    The same within an hour is stored once. Secrets are masked. What is no longer right: remember what is, with `supersedes`.
    """
    who = await caller(app, ask.repo)
    principal = who.principal
    thread = ask.task_id or principal.session
    if not thread and who.actor is not None:
        thread = f"{principal.id}/{who.actor.state.generation}"
    memory = Memory(
        repo=who.repo,
        agent=principal.id,
        agent_name=principal.name,
        session=principal.session,
        task=ask.task_id,
        thread=thread,
        event_type=ask.event_type,
        summary=ask.summary,
        details=_details(ask.details),
        outcome=_OUTCOMES.get(ask.outcome) or Outcome(ask.outcome or Outcome.NEUTRAL),
        lessons=tuple(ask.lessons),
        tags=tuple(tag.strip().lower() for tag in ask.tags),
        files=inside(ask.files, who),
        importance=ask.importance,
        is_pinned=ask.pin,
        commit=await _head(who),
    )
    done = await app.coordinator.memory.remember(
        memory, supersedes=ask.supersedes, secrets=await _secrets(app, who)
    )
    return views.RememberedView(
        memory_id=memory_name(done.id),
        deduplicated=done.is_known,
        action="deduplicated" if done.is_known else "created",
        contradicts=[memory_name(n) for n in done.contradicts],
        superseded=memory_name(done.superseded) if done.superseded else "",
    )


@operation(
    "memory.recall",
    route="POST /api/v1/memory/query",
    gives=views.RecalledView,
    text=views.recalled,
    command="memory search",
    scope=Scope.MEMORY,
    tool="recall",
    is_compact=True,
)
async def recall(ask: Recall, app: App) -> views.RecalledView:
    """Recall what is known here about something: best first, with `text` ready to be read by a model."""
    who = await caller(app, ask.repo)
    now = app.coordinator.ground.now()
    which = MemoryFilter(
        repo=who.repo,
        event_types=tuple(ask.event_types),
        tags=tuple(tag.strip().lower() for tag in ask.tags),
        paths=inside(ask.files, who),
        since_at=now - seconds(ask.since) if ask.since else 0.0,
        has_superseded=ask.superseded,
    )
    question = Question(
        text=ask.query,
        which=which,
        here=(*inside(ask.near, who), *await _held(app, who)),
        limit=ask.limit,
        token_budget=ask.token_budget,
        least_share=ask.min_relevance,
    )
    found = await app.coordinator.memory.recall(question)
    return views.RecalledView(
        memories=[views.memory(hit, now) for hit in found.hits], text=found.text, truncated=found.is_cut
    )


@operation(
    "memory.list",
    route="GET /api/v1/memory",
    gives=views.MemoryList,
    text=views.memories,
    command="memory ls",
    scope=Scope.MEMORY,
    tool="list_memories",
)
async def listed(ask: ListMemories, app: App) -> views.MemoryList:
    """List the newest memories of this repository."""
    who = await caller(app, ask.repo)
    which = MemoryFilter(
        repo=who.repo,
        tags=tuple(tag.strip().lower() for tag in ask.tags),
        paths=inside(ask.files, who),
        agent=who.principal.id if ask.mine else "",
        has_superseded=ask.superseded,
    )
    now = app.coordinator.ground.now()
    found = await app.coordinator.memory.newest(which, limit=ask.limit)
    return views.MemoryList(memories=[views.listed(memory, now) for memory in found])


@operation(
    "memory.forget",
    route="DELETE /api/v1/memory/{memory_id}",
    gives=views.ForgottenView,
    text=views.forgotten,
    touch=Touch.DESTROY,
    command="memory forget",
    scope=Scope.MEMORY,
    tool="forget",
)
async def forget(ask: Forget, app: App) -> views.ForgottenView:
    """Forget a memory for good; agents may forget their own."""
    who = await caller(app, ask.repo)
    memories = app.coordinator.memory
    forget_it = memories.to_forget if ask.dry_run else memories.forget
    gone = await forget_it(who.repo, ask.memory_id, by=who.principal)
    return views.ForgottenView(memory_id=memory_name(gone.id), summary=gone.summary, dry_run=ask.dry_run)


def _details(said: str | dict[str, object]) -> str:
    """Raises Invalid when they are too long."""
    text = said if isinstance(said, str) else views.plain(said)
    if len(text) > _MOST_DETAILS:
        raise Invalid(
            f"details: {len(text)} characters",
            hint=f"Keep them below {_MOST_DETAILS}; a path to more will do.",
        )
    return text


async def _secrets(app: App, who: Caller) -> frozenset[str]:
    """Values that the agent knows and nobody else should."""
    if who.actor is None:
        return frozenset()
    inc = await app.agents.incarnation(who.actor)
    return (await values_of(inc, within_s=_SECRETS_S)).known


async def _head(who: Caller) -> str:
    """Where the agent's branch is; empty when nobody can tell."""
    inc = who.actor.incarnation if who.actor is not None else None
    if inc is None or inc.worktree is None:
        return ""
    try:
        return await inc.systems.workspaces.resolve(inc.repo, f"refs/heads/{inc.worktree.branch}")
    except EnvmgrError:
        return ""


async def _held(app: App, who: Caller) -> tuple[str, ...]:
    """Paths that the caller has locked: that is what it works on."""
    held = await app.coordinator.ground.read(lambda tx: tx.locks.all(who.repo, holder=who.principal.id))
    return tuple(grant.target.removesuffix("/").removesuffix("/**") for grant in held)
