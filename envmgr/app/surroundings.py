"""Operations on what surrounds an agent's programs: env, exec, url."""

from __future__ import annotations

from pathlib import Path

from envmgr.app import views
from envmgr.app.agents import OneAgent
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import argument, option, supplied
from envmgr.errors import Conflict, IllegalTransition, NotFound, Unavailable
from envmgr.model.agent import Lifecycle
from envmgr.model.observe import Present, Unknown
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.runtime import addresses, owning, rendering, sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.runners import needs_runner
from envmgr.runtime.steps.environment import public_env


class Environment(OneAgent):
    """Whose environment."""

    reveal: bool = option("Show the values of secrets", default=False)
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class Execute(OneAgent):
    """What to run in the agent's environment."""

    command: list[str] = argument("Command and arguments, after --", min_length=1)
    service: str = option("Inside of this service's container, or with its environment", default="")
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class Url(OneAgent):
    """Which address."""

    service: str = argument("Only this service", default="")


@operation(
    "agent.env",
    route="POST /api/v1/agents/{agent}/env",
    gives=views.EnvView,
    text=lambda result, style: "".join(f"{k}={v}\n" for k, v in sorted(result.env.items())),
    command="env",
)
async def env(ask: Environment, app: App) -> views.EnvView:
    """Print the agent's environment: ports, URLs, connection strings; secrets are masked."""
    return await _env(ask, app)


@operation(
    "agent.exec",
    route="POST /api/v1/agents/{agent}/exec",
    gives=views.EnvView,
    text=lambda result, style: f"cd {result.worktree}\n",
    touch=Touch.WRITE,
    command="exec",
)
async def execute(ask: Execute, app: App) -> views.EnvView:
    """Run a command in the agent's worktree with its environment; the command line does the running.

    Whoever asks stays who they are: an `envmgr` in there acts for you and not for the agent, whose key is not in the environment.
    """
    whole = Environment(agent=ask.agent, reveal=True, environment=ask.environment)
    view = await _env(whole, app)
    if not Path(view.worktree).is_dir():
        raise Conflict(f"{view.name} has no worktree", hint=f"Start it with `envmgr start {view.name}`.")
    return await _within(ask, app, view) if ask.service else view


async def _within(ask: Execute, app: App, view: views.EnvView) -> views.EnvView:
    inc = await app.agents.incarnation(app.agents.find(ask.agent))
    named = (s for s in inc.services if ask.service in (s.name, s.replica_of) and needs_runner(s))
    service = next(named, None)  # the first instance, when it stands for several
    if service is None:
        known = ", ".join(s.name for s in inc.services if needs_runner(s)) or "none"
        raise NotFound(f"{view.name} has no service {ask.service}", hint=f"It has: {known}.")
    if service.container is not None:
        owner = sharing.runs_in(inc, service)
        await _need_running(app, view.name, service, owning.container(owner, service.name))
        place = await app.engine.whereabouts()  # the daemon's: the person's own may be another one
        engine = dict(place.variables) if place else {}
        return view.model_copy(update={"container": owning.container(owner, service.name), "engine": engine})
    env = rendering.service_env(inc, service, await inc.secrets(ask.environment))
    folder = inc.path / service.cwd
    return view.model_copy(update={"worktree": str(folder), "env": {**env, **inc.marker("person")}})


async def _need_running(app: App, agent: str, service: ServiceSpec, container: str) -> None:
    """What the engine would say instead names the container by 64 digits only."""
    match await app.agents.systems.containers.inspect(container):
        case Present(found) if found.is_alive:
            return
        case Unknown(reason):
            raise Unavailable(reason, hint="See `envmgr doctor`.")
    is_task = service.kind is ServiceKind.TASK
    raise Conflict(
        f"{service.name} is a task, and has ended"
        if is_task
        else f"the container of {service.name} does not run",
        hint=f"See `envmgr logs {agent} {service.name}`; `envmgr restart {agent} {service.name}` runs it again.",
    )


async def _env(ask: Environment, app: App) -> views.EnvView:
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    _need_ports(actor)
    if not ask.reveal:
        return views.EnvView(name=actor.state.name, worktree=str(inc.path), env=public_env(inc))
    secrets = await inc.secrets(ask.environment)
    # A command in there that calls envmgr means this installation.
    here = {"ENVMGR_STATE_DIR": str(inc.layout.state_dir)}
    full = rendering.assistant_env(inc, secrets, part="person") | here
    return views.EnvView(name=actor.state.name, worktree=str(inc.path), env=full)


@operation(
    "agent.url",
    route="GET /api/v1/agents/{agent}/url",
    gives=views.UrlView,
    text=lambda result, style: "".join(f"{url}\n" for url in result.urls.values()),
    command="url",
)
async def url(ask: Url, app: App) -> views.UrlView:
    """Print the addresses of the agent's services."""
    actor = app.agents.find(ask.agent)
    inc = await app.agents.incarnation(actor)
    _need_ports(actor)
    # Instances only by name: their service's address leads to them.
    services = [s for s in inc.services if ask.service == s.name or not (ask.service or s.replica_of)]
    if ask.service and not services:
        known = ", ".join(s.name for s in inc.services) or "none"
        raise NotFound(f"{actor.state.name} has no service {ask.service}", hint=f"It has: {known}.")
    urls = {f"{s.name}.{p.name}": addresses.url(inc, s, p) for s in services for p in s.ports}
    return views.UrlView(name=actor.state.name, urls=urls)


def _need_ports(actor: Actor) -> None:
    if (
        actor.spec.services
        and actor.state.lifecycle in (Lifecycle.STOPPED, Lifecycle.ERROR)
        and not actor.state.holds
    ):
        raise IllegalTransition(
            f"{actor.state.name} is {actor.state.lifecycle.value} and holds no ports",
            hint=f"Start it with `envmgr start {actor.state.name}`.",
        )
