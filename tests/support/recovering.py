"""A running agent, the conductor that looks after it, and measures that do what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from envmgr.errors import EnvmgrError
from envmgr.model.agent import Desired, Lifecycle
from envmgr.model.effect import EffectKind
from envmgr.model.incident import ClimbOutcome, Incident, Part, Rung, Symptom
from envmgr.model.recovery import RecoveryLimits, RecoveryPolicy, RungPolicy
from envmgr.model.service import Rate, ServiceSpec
from envmgr.model.stimulus import AssistantExited, SessionRestored
from envmgr.protocols.store import AgentRecord, OwedEffect
from envmgr.runtime.actor import Actor
from envmgr.runtime.bus import Bus
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.recovery.conductor import Conductor
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.supervisor import Policy, Supervisor
from tests.support.incarnations import incarnation
from tests.support.wait import async_eventually

LIMITS = RecoveryLimits(look_s=0.01, cool_down_s=0.05, close_after_s=60.0, patience_s=2.0, canary_s=0.0)
QUICK = RecoveryPolicy(
    session=RungPolicy(budget=Rate(count=3, window_s=1800.0)),
    realloc=RungPolicy(budget=Rate(count=2, window_s=3600.0)),
    respawn=RungPolicy(budget=Rate(count=2, window_s=21_600.0)),
    stabilize_s=0.05,
)


class Scripted:
    """Measures that fail, hang or bring the session back, in the order of the script; then they bring it back."""

    def __init__(self) -> None:
        self.taken: list[Measure] = []
        self.script: list[EnvmgrError | str] = []
        self.began = anyio.Event()
        self.supervisor: Supervisor | None = None

    async def act(self, actor: Actor, measure: Measure) -> str:
        self.taken.append(measure)
        self.began.set()
        said = self.script.pop(0) if self.script else "back"
        if isinstance(said, EnvmgrError):
            raise said
        if said == "hangs":
            await anyio.sleep_forever()
        if said == "back" and self.supervisor is not None:
            await self.supervisor.apply(actor, SessionRestored(generation=actor.state.generation))
        return said

    @property
    def rungs(self) -> list[Rung]:
        return [measure.rung for measure in self.taken]


class Lab:
    """The daemon's part: everything but CLIMB is only noted."""

    def __init__(self, inc: Incarnation, limits: RecoveryLimits, reach: Callable[[str], None]) -> None:
        self.inc = inc
        self.effects: list[EffectKind] = []
        self.measures = Scripted()
        self.supervisor = Supervisor(
            inc.systems,
            inc.layout,
            inc.instance,
            bus=Bus(),
            policy=Policy(validate=True),
            perform=self._perform,
            reach=reach,
        )
        self.measures.supervisor = self.supervisor
        self.conductor = Conductor(self.supervisor, self.measures, limits, reach=reach)

    async def start(self, group: TaskGroup) -> None:
        """As a daemon does that finds the agent."""
        (known,) = await self.inc.systems.store.read(lambda tx: tx.agents())
        if known.state.generation == 0:
            state = replace(
                known.state, generation=1, lifecycle=Lifecycle.RUNNING, desired=Desired.RUNNING,
                holds=frozenset({"session"}),
            )  # fmt: skip
            version = await self.inc.systems.store.write(
                lambda tx: tx.save_state(state, expect=known.version)
            )
            known = AgentRecord(state=state, spec=self.inc.spec, version=version)
        self.actor = self.supervisor.take_over(replace(known, spec=self.inc.spec))
        self.actor.incarnation = self.inc
        self.supervisor.start(group)
        await self.conductor.load()
        for owed in await self.inc.systems.store.read(lambda tx: tx.owed()):
            self.supervisor.drive(self.actor, owed, was_cut_off=True)
        self.conductor.start(group)

    async def _perform(self, actor: Actor, owed: OwedEffect, *, was_cut_off: bool = False) -> None:
        if owed.effect.kind is EffectKind.CLIMB:
            await self.conductor.climb(actor, owed)
            return
        if not was_cut_off:
            self.effects.append(owed.effect.kind)
        await self.inc.systems.store.write(lambda tx: tx.settle(owed.id))

    # --- what happens ------------------------------------------------------------------------------------------

    async def assistant_dies(self) -> None:
        """As the status loop notices it."""
        await self.supervisor.apply(
            self.actor, AssistantExited(generation=self.actor.state.generation, code=None, signal="SIGKILL")
        )
        self.conductor.report(self.actor, self.death())

    def death(self) -> Symptom:
        now = self.inc.systems.steady()
        words = "the assistant exited with signal SIGKILL"
        return Symptom(part=Part.ASSISTANT, words=words, at=now, exit_signal="SIGKILL")

    def failure(self, unit: str, **more: object) -> Symptom:
        now = self.inc.systems.steady()
        plain = Symptom(part=Part.SERVICE, subject=unit, words="it ended", at=now, exit_code=1)
        return replace(plain, **more)  # type: ignore[arg-type]  # fields by name

    # --- what is seen ------------------------------------------------------------------------------------------

    async def incidents(self) -> Sequence[Incident]:
        """All, newest first."""
        return await self.inc.systems.store.read(lambda tx: tx.incidents())

    async def incident(self) -> Incident:
        (only,) = await self.incidents()
        return only

    async def until_calm(self) -> None:
        """The last measure has held."""

        async def is_calm() -> bool:
            found = await self.incidents()
            has_held = bool(found and found[0].climbs) and found[0].climbs[-1].outcome is ClimbOutcome.HELD
            return has_held and self.actor.state.rung is None

        await async_eventually(is_calm)

    async def until_waiting(self) -> None:
        """Nothing is done about it for now."""

        async def waits() -> bool:
            found = await self.incidents()
            return bool(found) and [climb.rung for climb in found[0].climbs] == [Rung.WAIT]

        await async_eventually(waits)

    async def until_waiting_for(self, words: str) -> None:
        """The newest incident waits, for that reason."""

        async def waits() -> bool:
            found = await self.incidents()
            last = found[0].climbs[-1] if found and found[0].climbs else None
            return last is not None and last.rung is Rung.WAIT and words in last.because

        await async_eventually(waits)

    async def until_rung(self, rung: Rung) -> None:
        await async_eventually(lambda: self.actor.state.rung is rung)


@asynccontextmanager
async def recovering(
    folder: Path,
    *services: ServiceSpec,
    limits: RecoveryLimits = LIMITS,
    policy: RecoveryPolicy = QUICK,
) -> AsyncIterator[Lab]:
    """An agent that runs, and a conductor that looks after it."""
    async with incarnation(folder, *services) as inc:
        inc.spec = replace(inc.spec, recovery=policy)
        async with daemon(inc, limits=limits) as lab:
            yield lab


@asynccontextmanager
async def daemon(
    inc: Incarnation, *, limits: RecoveryLimits = LIMITS, reach: Callable[[str], None] = lambda point: None
) -> AsyncIterator[Lab]:
    """One life of a daemon; it ends without a word, as if it were killed."""
    async with anyio.create_task_group() as group:
        lab = Lab(inc, limits, reach)
        await lab.start(group)
        try:
            yield lab
        finally:
            group.cancel_scope.cancel()
