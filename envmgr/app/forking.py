"""Operation `agent.fork`: several agents from the present state of one."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from envmgr.aio import blocking
from envmgr.app import spawning, text, views
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.present import agent_view
from envmgr.app.shapes import Ask, argument, option, supplied
from envmgr.app.snapshots import at_leisure
from envmgr.errors import ConfigError, EnvmgrError
from envmgr.model.spec import AgentSpec, Origin
from envmgr.protocols.store import Snapshot, SnapshotKind
from envmgr.runtime import run_when, saving
from envmgr.runtime.actor import Actor

log = logging.getLogger(__name__)


class ForkAgent(Ask):
    """What to fork."""

    agent: str = argument("Name, id, or a unique beginning of either")
    count: int = option("How many forks", short="-n", default=1, ge=1, le=spawning.MOST)
    name: str | None = option("Name of the fork; with --count a number is added")
    prompt: str | None = option("First prompt of the forks; without one they wait")
    prompt_file: str | None = option("File that holds the first prompt, `-` for standard input")
    volumes: bool = option(
        "Give the forks copies of its volumes; else theirs begin as the template says", default=True
    )
    wait: bool = option("Wait until the forks run", default=True)
    repo: str = supplied("Folder that a prompt file is relative to", "cwd", default="")
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})
    request: str = Field(default="", description="Id that events of this request carry as `cause`")


@operation(
    "agent.fork",
    route="POST /api/v1/agents/{agent}/fork",
    gives=views.SpawnItem,
    text=text.spawn_item,
    touch=Touch.WRITE,
    command="fork",
)
async def fork(ask: ForkAgent, app: App) -> AsyncIterator[views.SpawnItem]:
    """Start agents from the present state of one: its files with uncommitted work, its volumes, its template.

    Each fork gets a branch, ports and volumes of its own. The agent goes on; containers that mount its volumes are paused while
    those are copied. Services for the whole repository are joined, not copied.
    """
    spawning.need_tools()
    supervisor = app.agents
    actor = supervisor.find(ask.agent)
    prompt = spawning.prompt_of(ask.prompt, ask.prompt_file, folder=ask.repo)
    names = _names(ask, actor, taken={a.state.name for a in supervisor.actors()})
    # Before anything is copied: what cannot be spawned is refused here.
    specs = [replace(await _spec(app, ask, actor, name), name=name) for name in names]
    snapshot, base, recalled = await _save(app, ask, actor)
    origin = Origin(snapshot=snapshot.id, agent=actor.state.name)
    with supervisor.bus.subscribe() as subscription:
        forks: list[Actor] = []
        for spec in specs:
            assistant = replace(spec.assistant, prompt=prompt)
            ready = replace(
                spec, origin=origin, assistant=assistant, workspace=replace(spec.workspace, base=base)
            )
            try:
                made = await _accept(app, ask, actor, ready, recalled)
            except EnvmgrError as error:
                if not forks:
                    await saving.discard(supervisor.systems, supervisor.layout, snapshot)
                    raise
                yield views.SpawnItem(kind="failed", name=spec.name, problem=error.problem())
                continue
            forks.append(made)
            yield views.SpawnItem(kind="accepted", name=spec.name, agent=agent_view(made, supervisor))
        if ask.wait:
            async for item in spawning.progress(app, forks, subscription):
                yield item


async def _accept(
    app: App, ask: ForkAgent, actor: Actor, spec: AgentSpec, recalled: Mapping[str, str]
) -> Actor:
    """`recalled`: which tasks had succeeded in the state it begins from."""
    supervisor = app.agents
    repo = actor.repo or (await supervisor.incarnation(actor)).repo
    made = await supervisor.spawn(spec, repo=repo, environment=_environment(ask, actor), cause=ask.request)
    await supervisor.systems.store.write(
        lambda tx: run_when.inherit(tx, made.state.id, recalled, volumes=ask.volumes)
    )
    return made


def _environment(ask: ForkAgent, actor: Actor) -> Mapping[str, str]:
    return ask.environment or actor.environment


async def _save(app: App, ask: ForkAgent, actor: Actor) -> tuple[Snapshot, str, Mapping[str, str]]:
    """The snapshot, the commit that the agent's worktree stood on, and which tasks had succeeded."""
    async with at_leisure(app, actor):
        inc = await app.agents.incarnation(actor)
        only = None if ask.volumes else ()
        snapshot = await saving.save(inc, kind=SnapshotKind.FORK, only=only, reach=app.agents.reach)
        recalled = await inc.systems.store.read(lambda tx: run_when.recalled(tx, inc.id))
        return snapshot, await inc.systems.workspaces.resolve(inc.repo, f"{snapshot.ref}^1"), recalled


def _names(ask: ForkAgent, actor: Actor, *, taken: set[str]) -> Sequence[str]:
    """Raises UsageError for a name that cannot be one, Conflict for one that is taken."""
    if ask.name is not None and ask.count == 1:
        spawning.refuse_name(ask.name, taken)
        return [ask.name]
    if ask.name is not None:
        spawning.refuse_name(ask.name, set())
    stem = (ask.name or f"{actor.state.name[:31]}-fork")[:36]
    numbered = (f"{stem}-{number}" for number in itertools.count(1))
    return list(itertools.islice((name for name in numbered if name not in taken), ask.count))


async def _spec(app: App, ask: ForkAgent, actor: Actor, name: str) -> AgentSpec:
    """What the agent was spawned from, in another's name.

    Names are filled in when a template is resolved, so it is resolved again. If it has changed since, the agent's own spec is
    used, unless the agent's name occurs in it: two agents must not share a database by mistake.

    Raises:
        ConfigError: The template has changed, and what the agent was spawned from is made for its name.
    """
    mine = actor.spec
    try:
        again = await blocking.look("file", 30.0, _resolve, app, ask, actor, actor.state.name)
        if _essence(again) == _essence(mine):
            return _with_own_branch(await blocking.look("file", 30.0, _resolve, app, ask, actor, name), mine)
    except EnvmgrError as error:  # the template is broken or gone: what it once said is stored
        log.info("forking by the stored spec", extra={"agent": actor.state.id, "why": error.message})
    if _mentions(mine, actor.state.name):
        raise ConfigError(
            f"the template {mine.template} has changed since {actor.state.name} was spawned from it, and it uses the agent's name",
            hint=f"Bring the agent to the present template first (`envmgr apply {actor.state.name}`), then fork it.",
        )
    return replace(mine, name=name, workspace=replace(mine.workspace, branch=f"agent/{name}"))


def _resolve(app: App, ask: ForkAgent, actor: Actor, name: str) -> AgentSpec:
    spec = actor.spec
    asked = spec.asked
    return app.templates.resolve(
        asked.template if asked else spec.template,
        repo=Path(spec.repo),
        agent=name,
        params=asked.params if asked else {},
        environment=_environment(ask, actor),
        profiles=spec.profiles,
    )


def _with_own_branch(spec: AgentSpec, other: AgentSpec) -> AgentSpec:
    """A template may name one branch for all its agents, which only one can have."""
    if spec.workspace.branch != other.workspace.branch:
        return spec
    return replace(spec, workspace=replace(spec.workspace, branch=f"agent/{spec.name}"))


def _essence(spec: AgentSpec) -> tuple[object, ...]:
    """What makes two specs the same but for what the person asked and their environment."""
    workspace = replace(spec.workspace, base="", branch="")
    assistant = replace(spec.assistant, prompt=None)
    env = {name: value for name, value in spec.env.items() if name not in spec.inherited}
    rest = (spec.services, spec.volumes, spec.hooks, spec.secrets, spec.limits, spec.retention)
    return (workspace, assistant, env, *rest)


def _mentions(spec: AgentSpec, name: str) -> bool:
    word = rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])"
    return re.search(word, repr(_essence(spec))) is not None
