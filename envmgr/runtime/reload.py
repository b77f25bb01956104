"""Resolve the template of an agent once more, with the words of its spawn, and say what differs from what it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from envmgr.aio import blocking
from envmgr.core import change, raised, scaled
from envmgr.model.change import Fate, Impact, Plan
from envmgr.model.spec import AgentSpec
from envmgr.protocols.templates import TemplateSource
from envmgr.runtime import footing
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.steps import shared

_RESOLVE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan and the spec it leads to."""

    plan: Plan
    spec: AgentSpec


async def propose(
    templates: TemplateSource, actor: Actor, inc: Incarnation, *, environment: Mapping[str, str]
) -> Proposal:
    """What the template of the agent says now, against what it runs.

    Args:
        environment: Of the person who asks; only for variables that the template did not use at the spawn.

    Raises:
        ConfigError: The template is wrong; file, line and column in the message.
        NotFound: The template is gone.
        UsageError: It no longer takes the parameters of the spawn.
    """
    new = await blocking.look(
        "file", _RESOLVE_S, templates.resolve_again, actor.spec, environment=environment
    )
    new = raised.restore(scaled.restore(new))
    builds = await footing.builds(inc)
    plan = change.plan(actor.spec, new, builds=builds)
    if actor.state.is_alive:
        refusals = await shared.obstacles(replace(inc, spec=new))
        plan = replace(plan, obstacles=tuple(f"{each.message}. {each.hint}" for each in refusals))
    return Proposal(plan=plan, spec=new)


def summary(plan: Plan) -> str:
    """`recreate db, restart api, start web`; empty when nothing that runs is touched."""
    words = [f"{_verb(u.fate, u.impact)} {u.unit}" for u in plan.units if u.impact is not Impact.NONE]
    heavy = (Impact.REPLAN,) if words else (Impact.REPLAN, Impact.LIVE)
    words += [f"{f.path} of the agent" for f in plan.fields if f.impact in heavy]
    return ", ".join(words)


def _verb(fate: Fate, impact: Impact) -> str:
    if fate is Fate.ADDED:
        return "start"
    if fate is Fate.REMOVED:
        return "stop"
    return {Impact.LIVE: "adjust", Impact.SIGNAL: "tell"}.get(impact, impact.value)
