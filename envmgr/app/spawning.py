"""Operation `agent.spawn`: from a template to running agents, with live progress."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from envmgr.aio import blocking
from envmgr.app import text, views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.planning import planned
from envmgr.app.present import agent_view
from envmgr.app.shapes import Ask, option, supplied
from envmgr.errors import Conflict, EnvmgrError, SpawnRolledBack, Unavailable, UsageError
from envmgr.model.agent import Lifecycle
from envmgr.model.event import Event
from envmgr.model.spec import AgentSpec
from envmgr.protocols.workspaces import Repository
from envmgr.runtime.actor import Actor
from envmgr.runtime.bus import Subscription

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MOST = 50


class SpawnAgent(Ask):
    """What to spawn."""

    template: str = option("Template name or path", short="-t", default="shell")
    name: str | None = option("Name of the agent; with --count a number is added")
    base: str | None = option("Commit, tag or branch to start from")
    branch: str | None = option("Branch to create")
    param: list[str] = option("Template parameter as key=value; may be repeated", short="-p", default=[])
    profile: list[str] = option("Profile of the template to choose; may be repeated", default=[])
    prompt: str | None = option("First prompt")
    prompt_file: str | None = option("File that holds the first prompt, `-` for standard input")
    count: int = option("How many agents", short="-n", default=1, ge=1, le=MOST)
    wait: bool = option("Wait until the agents run", default=True)
    dry_run: bool = option("Print the plan and change nothing", default=False)
    repo: str = supplied("Folder inside the repository", "cwd", default="")
    environment: dict[str, str] = supplied("Environment of the spawning person", "environment", default={})
    request: str = Field(default="", description="Id that events of this request carry as `cause`")


@operation(
    "agent.spawn",
    route="POST /api/v1/agents",
    gives=views.SpawnItem,
    text=text.spawn_item,
    touch=Touch.WRITE,
    command="spawn",
)
async def spawn(ask: SpawnAgent, app: App) -> AsyncIterator[views.SpawnItem]:
    """Give agents a living environment each: worktree, ports, services, terminal, assistant.

    If a step fails everything it made is taken back, and the step and the reason are named. Agents of one
    call do not depend on each other: those that came up stay.
    """
    need_tools()
    supervisor = app.agents
    repo = await supervisor.systems.workspaces.find(Path(ask.repo))
    params = params_of(ask.param)
    names = _names(ask, taken={a.state.name for a in supervisor.actors()})
    await _refuse_mistyped(app, ask, repo)
    with supervisor.bus.subscribe() as subscription:
        actors: list[Actor] = []
        for name in names:
            if ask.dry_run:
                spec = await _resolved(app, ask, name, repo.root, params)
                yield views.SpawnItem(kind="plan", name=name, plan=planned(app, spec, repo.key))
                continue
            try:
                actor = await _accept(app, ask, name, repo, params)
            except EnvmgrError as error:
                if not actors:
                    raise  # nothing was begun: the request as a whole is refused
                yield views.SpawnItem(kind="failed", name=name, problem=error.problem())
                continue
            actors.append(actor)
            yield views.SpawnItem(kind="accepted", name=actor.state.name, agent=agent_view(actor, supervisor))
        if ask.wait:
            async for item in progress(app, actors, subscription):
                yield item


def need_tools() -> None:
    """Missing ones are noticed here, not when half of an agent exists."""
    for tool in ("git", "tmux"):
        if shutil.which(tool) is None:
            raise Unavailable(
                f"{tool} was not found on the daemon's PATH",
                hint=f"Install {tool}; if it is installed, run `envmgr daemon stop` and try again.",
            )


async def _refuse_mistyped(app: App, ask: SpawnAgent, repo: Repository) -> None:
    """What a person typed is looked at before anything is recorded; a template's own base and branch come later."""
    if ask.branch is not None and ask.count > 1:
        raise UsageError(
            f"{ask.count} agents cannot share the branch {ask.branch}",
            hint="Leave --branch out: each agent then gets a branch named after it.",
        )
    git = app.agents.systems.workspaces
    if ask.base is not None:
        await git.resolve(repo, ask.base)
    if ask.branch is not None and await git.branch_exists(repo, ask.branch):
        raise Conflict(
            f"the branch {ask.branch} exists already",
            hint=f"Choose another --branch, or start from it: --base {ask.branch}.",
        )


async def _accept(app: App, ask: SpawnAgent, name: str, repo: Repository, params: dict[str, str]) -> Actor:
    """Record one agent; a number that another request took meanwhile is passed over."""
    while True:
        spec = await _resolved(app, ask, name, repo.root, params)
        taken = {a.state.name for a in app.agents.actors()}
        if name not in taken or (ask.name is not None and ask.count == 1):
            return await app.agents.spawn(spec, repo=repo, environment=ask.environment, cause=ask.request)
        name = next(_free_names(ask, taken))


async def _resolved(app: App, ask: SpawnAgent, name: str, repo: Path, params: dict[str, str]) -> AgentSpec:
    return await blocking.look("file", 30.0, _resolve, app, ask, name, repo, params)


def _resolve(app: App, ask: SpawnAgent, name: str, repo: Path, params: dict[str, str]) -> AgentSpec:
    return app.templates.resolve(
        ask.template,
        repo=repo,
        agent=name,
        params=params,
        environment=ask.environment,
        base=ask.base,
        branch=ask.branch,
        prompt=prompt_of(ask.prompt, ask.prompt_file, folder=ask.repo),
        profiles=ask.profile,
    )


def prompt_of(prompt: str | None, file: str | None, *, folder: str) -> str | None:
    """The prompt that was given, itself or in a file; None when none was.

    Raises:
        UsageError: The file cannot be read, the prompt is empty, or both were given.
    """
    if file is not None and prompt is not None:
        raise UsageError("both --prompt and --prompt-file are given", hint="Give one of them.")
    prompt = prompt if file is None else _read(Path(folder) / file)
    if prompt is not None and not prompt.strip():
        raise UsageError(
            "the prompt is empty", hint="Write what the assistant is to do, or leave the option out."
        )
    return prompt


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            f"prompt file {path.name} cannot be read: {why}", hint="Check --prompt-file."
        ) from error


async def progress(
    app: App, actors: Sequence[Actor], subscription: Subscription
) -> AsyncIterator[views.SpawnItem]:
    """Steps as they happen, then each agent's end."""
    waiting = {actor.state.id: actor for actor in actors}
    came_up: set[str] = set()
    while waiting:
        events = await subscription.next()
        for event in events:
            if event.kind == "agent.running":
                came_up.add(event.agent)
            actor = waiting.get(event.agent)  # type: ignore[call-overload]  # AgentId is a str
            if actor is not None and (item := _item(actor.state.name, event)) is not None:
                yield item
        # Judged by the state, not by an event: of those some may have been dropped.
        for actor in [a for a in waiting.values() if a.state.lifecycle is not Lifecycle.SPAWNING]:
            del waiting[actor.state.id]
            yield _end(app, actor, came_up=actor.state.id in came_up)
        if not events:
            return  # the daemon ends


def _item(name: str, event: Event) -> views.SpawnItem | None:
    group, _, state = event.kind.partition(".")
    if group not in ("step", "service"):
        return None
    detail = str(event.data.get("detail") or event.data.get("error") or "")
    which = str(event.data.get(group, ""))
    kind: Any = group  # one of the literals, by the test above
    return views.SpawnItem(kind=kind, name=name, step=which, state=state, detail=detail, at=event.at)


def _end(app: App, actor: Actor, *, came_up: bool) -> views.SpawnItem:
    """Done, also when it has ended well already; failed when it did not come up, because somebody stopped it too."""
    agent = agent_view(actor, app.agents)
    failed = actor.state.lifecycle not in (Lifecycle.RUNNING, Lifecycle.STOPPING, Lifecycle.STOPPED)
    if failed or not (came_up or actor.state.lifecycle is Lifecycle.RUNNING):
        error = SpawnRolledBack(
            f"{actor.state.name}: {actor.state.reason}",
            hint=f"See `envmgr why {actor.state.name}`; try again with `envmgr start {actor.state.name}`.",
        )
        return views.SpawnItem(kind="failed", name=actor.state.name, agent=agent, problem=error.problem())
    return views.SpawnItem(kind="done", name=actor.state.name, agent=agent)


def params_of(pairs: Iterable[str]) -> dict[str, str]:
    """Template parameters as they are typed, `key=value` each."""
    params = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--param {pair!r} is not key=value", hint="Write --param model=opus.")
        params[key] = value
    return params


def _names(ask: SpawnAgent, *, taken: set[str]) -> list[str]:
    """The given name (numbered when several), or the template's name with the first free numbers.

    Raises:
        UsageError: The name has characters that do not belong in paths, branches and session names.
        Conflict: The given name is taken.
    """
    if ask.name is not None and ask.count == 1:
        refuse_name(ask.name, taken)
        return [ask.name]
    if ask.name is not None:
        refuse_name(ask.name, set())
    return list(itertools.islice(_free_names(ask, taken), ask.count))


def refuse_name(name: str, taken: set[str]) -> None:
    """Raise UsageError if no agent can be called like that, Conflict if one is."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an agent's name",
            hint="Use 1 to 40 of a-z, 0-9, - and _, beginning with a letter or digit.",
        )
    if name in taken:
        raise Conflict(
            f"an agent named {name} exists",
            hint=f"Start it again with `envmgr start {name}`, remove it, or choose another --name.",
        )


def _free_names(ask: SpawnAgent, taken: set[str]) -> Iterator[str]:
    stem = ask.name or re.sub(r"[^a-z0-9]+", "-", Path(ask.template).stem.lower()).strip("-") or "agent"
    numbered = (f"{stem[:36]}-{number}" for number in itertools.count(1))
    return (name for name in numbered if name not in taken)
