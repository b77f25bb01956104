"""Carry out a plan: commit the new spec, then do to each unit what the plan says, and to the others nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from envmgr.model.change import Fate, Impact, Plan
from envmgr.model.event import NewEvent
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reacting import react
from envmgr.runtime.reload import Proposal
from envmgr.runtime.settling import Act
from envmgr.runtime.supervisor import Supervisor
from envmgr.runtime.supplies import Supplies


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was done to one unit; `failure` says why it did not work."""

    unit: str
    done: str
    failure: str = ""


async def carry_out(
    supervisor: Supervisor,
    control: Control,
    actor: Actor,
    found: Proposal,
    *,
    environment: Mapping[str, str],
) -> tuple[Step, ...]:
    """Do it; returns what was done to each unit. An error means that nothing was changed.

    Args:
        environment: Of the person who asks, for secrets, when that of the spawn is not known any more.

    Raises:
        ConfigError: A secret or an image of the new spec is missing.
        Conflict: The agent has changed meanwhile, is neither running nor at rest, or a port cannot be had.
    """
    inc = await supervisor.incarnation(actor)
    if actor.state.is_alive:
        steps = await _while_running(control, actor, inc, found, environment)
    else:
        await control.keep(actor, found.spec, cause="apply")
        steps = ()
    failed = {step.unit: step.failure for step in steps if step.failure}
    data = {"plan": found.plan.fingerprint, "done": {s.unit: s.done for s in steps if not s.failure}}
    await supervisor.record(
        NewEvent(
            kind="agent.applied",
            agent=actor.state.id,
            generation=actor.state.generation,
            data={**data, "failed": failed} if failed else data,
        )
    )
    return steps


async def _while_running(
    control: Control, actor: Actor, inc: Incarnation, found: Proposal, environment: Mapping[str, str]
) -> tuple[Step, ...]:
    plan = found.plan
    await _foresee(inc, found, environment)
    anew = [u.unit for u in plan.units if u.fate in (Fate.CHANGED, Fate.FOLLOWS) and u.starts_anew]
    recreated = {name for name in anew if not _is_plain_restart(plan, name)}
    done = await control.settle(
        actor,
        found.spec,
        expect=actor.spec,
        restart=[name for name in anew if name not in recreated],
        recreate=sorted(recreated),
        environment=None if inc.environment else environment,
        cause="apply",
    )
    steps = [
        Step(
            unit=one.unit,
            done=one.act.value,
            failure=(one.detail or one.act.value) if one.act in (Act.FAILED, Act.SKIPPED) else "",
        )
        for one in done
    ]
    return (*steps, *await _tell(inc, plan))


async def _foresee(inc: Incarnation, found: Proposal, environment: Mapping[str, str]) -> None:
    """What can be missing is missed before anything is done: secrets and images."""
    trial = replace(inc, spec=found.spec)
    await trial.secrets(environment)
    changed = {u.unit for u in found.plan.units if u.impact.rank >= Impact.RECREATE.rank}
    boxed = [u for u in trial.services if u.container and u.name in changed and not u.is_shared]
    if boxed:
        supplies = Supplies(trial)
        for unit in boxed:
            await supplies.image(unit, None)


def _is_plain_restart(plan: Plan, name: str) -> bool:
    return any(u.unit == name and u.impact is Impact.RESTART for u in plan.units)


async def _tell(inc: Incarnation, plan: Plan) -> list[Step]:
    """Units that take a change without a restart."""
    told = [inc.service(name) for name in plan.names(Impact.SIGNAL)]
    if not told:
        return []
    secrets = await inc.secrets()
    return [
        Step(
            unit=unit.name,
            done=unit.on_env_change.action.value,
            failure=await react(inc, unit, unit.on_env_change, secrets=secrets),
        )
        for unit in told
    ]
