"""Operation `capacity`: how many more agents fit on this host, and what runs out first."""

from __future__ import annotations

from pathlib import Path

import anyio
from pydantic import Field

from envmgr.aio import blocking
from envmgr.app import text
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.shapes import Ask, View, option, supplied
from envmgr.app.spawning import params_of
from envmgr.core.capacity import Supply, answer
from envmgr.errors import UsageError
from envmgr.model.observe import Present
from envmgr.model.spec import AgentSpec
from envmgr.runtime import admission

_NAME = "capacity"
_READ_S = 30.0
_ENGINE_S = 3.0
_OTHER_NETWORKS = 2
"""`host` and `none` take no addresses."""


class Capacity(Ask):
    """For which agents."""

    template: str | None = option(
        "Template of the agents to come; without it: agents like those that run", short="-t"
    )
    param: list[str] = option("Template parameter as key=value; may be repeated", short="-p", default=[])
    repo: str = supplied("Folder inside the repository", "cwd", default="")
    environment: dict[str, str] = supplied("Environment of the asking person", "environment", default={})


class SupplyView(View):
    """One thing that agents share."""

    name: str
    unit: str = Field(description="`bytes`, or what is counted")
    fits: int | None = Field(description="Agents for which it is enough; null: they take none of it")
    total: float | None
    free: float
    keep: float = Field(description="What must remain")
    reserved: float = Field(description="What agents that are starting will take")
    each: float = Field(description="What one more agent takes")
    median: float | None = Field(
        description="Of what running agents have taken at most; null: none was measured"
    )
    basis: str = Field(description="Where `each` comes from")
    remedy: str
    is_advice: bool = Field(description="It makes agents slower, and refuses none")


class CapacityView(View):
    """How many more agents fit."""

    template: str = Field(description="Empty: agents like those that run")
    fits: int | None = Field(description="Null: nothing that was looked at bounds it")
    first: str = Field(description="What runs out first; empty when nothing does")
    remedy: str
    short: dict[str, str] = Field(description="What the host is short of just now, and why")
    supplies: list[SupplyView]


def _text(result: CapacityView, style: text.Style) -> str:
    what = f"more {'agent' if result.fits == 1 else 'agents'}" + (
        f" of {result.template}" if result.template else ""
    )
    fits = "any number of" if result.fits is None else str(result.fits)
    verb = "fits" if result.fits == 1 else "fit"
    first = (
        f"; {result.first} run{'' if result.first.endswith('s') else 's'} out first" if result.first else ""
    )
    rows = [_row(one, result.first) for one in result.supplies]
    colours = ["amber" if one.name == result.first else "" for one in result.supplies]
    table = text.table(["WHAT", "FITS", "FREE", "KEPT", "RESERVED", "EACH", "FROM"], rows, style, colours)
    short = "".join(f"! just now: {reason}\n" for reason in result.short.values())
    return f"{fits} {what} {verb}{first}\n{short}\n{table}" + (
        f"\n{result.remedy}\n" if result.remedy else ""
    )


def _row(one: SupplyView, first: str) -> list[str]:
    fits = "-" if one.fits is None else f"{one.fits}{' (slower)' if one.is_advice else ''}"
    numbers = (one.free, one.keep, one.reserved, one.each)
    return [one.name, fits, *(_amount(number, one.unit) for number in numbers), one.basis]


def _amount(number: float, unit: str) -> str:
    if unit == "bytes":
        return text.size(int(number))
    return f"{number:.0f}" if number == int(number) else f"{number:.2f}"


@operation(_NAME, route="POST /api/v1/capacity", gives=CapacityView, text=_text, command="capacity")
async def capacity(ask: Capacity, app: App) -> CapacityView:
    """Tell how many more agents fit on this host, what runs out first, and how that is known.

    What one agent takes is measured on running agents of the template; until some have run for two minutes it is what the
    template's limits say, else what is usual. Admission of spawns goes by the same numbers.
    """
    supervisor = app.agents
    spec = await _spec(ask, app)
    networks = await _networks(app, spec)
    repo = Path(spec.repo if spec else ask.repo)
    found = await admission.look(repo, supervisor.systems, supervisor.layout, networks=networks)
    told = answer(supervisor.room.supplies(spec, found))
    return CapacityView(
        template=spec.template if spec else "",
        fits=told.fits,
        first=told.first.name if told.first else "",
        remedy=told.first.remedy if told.first else "",
        short=dict(supervisor.measures.short),
        supplies=[_view(one) for one in told.supplies],
    )


def _view(one: Supply) -> SupplyView:
    return SupplyView(
        name=one.name, unit=one.unit, fits=one.fits, total=one.total, free=one.free, keep=one.keep,
        reserved=one.reserved, each=one.each, median=one.median, basis=one.basis, remedy=one.remedy,
        is_advice=one.is_advice,
    )  # fmt: skip


async def _spec(ask: Capacity, app: App) -> AgentSpec | None:
    if ask.template is None:
        if ask.param:
            raise UsageError("parameters belong to a template", hint="Name it with --template.")
        return None
    repo = await app.agents.systems.workspaces.find(Path(ask.repo))
    return await blocking.look("file", _READ_S, _resolve, ask, ask.template, app, repo.root)


def _resolve(ask: Capacity, template: str, app: App, repo: Path) -> AgentSpec:
    return app.templates.resolve(
        template, repo=repo, agent=_NAME, params=params_of(ask.param), environment=ask.environment
    )


async def _networks(app: App, spec: AgentSpec | None) -> int | None:
    """How many the engine has; None when nobody uses containers, or it does not say."""
    specs = [spec] if spec else [actor.spec for actor in app.agents.actors()]
    if not any(service.container for one in specs for service in one.services):
        return None
    with anyio.move_on_after(_ENGINE_S):
        match await app.engine.networks({}):
            case Present(found):
                return max(0, len(found) - _OTHER_NETWORKS)
    return None
