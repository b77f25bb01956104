"""Compare what agents run with what was launched and with what would be launched now; remark it, repair nothing.

Files are watched; every minute all is looked at again, because events get lost (R-40). A look at rest costs some `stat` calls
per agent, one call to the engine for all, and no process.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.errors import ConfigError, EnvmgrError, NotFound, UsageError
from envmgr.model.change import Drift, Impact
from envmgr.model.ids import LABEL_AGENT, LABEL_INSTANCE, AgentId
from envmgr.model.observe import Absent, Present
from envmgr.model.stimulus import DriftSeen
from envmgr.protocols.engine import Container
from envmgr.protocols.templates import TemplateSource
from envmgr.protocols.watching import Watcher
from envmgr.runtime import basis, comparing, footing, reload
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.runners import find_keeper
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_EVERY_S = 60.0
_FILES_S = 10.0
_COARSE_S = 1.0
_CATCH_UP_S = 2.0
_INVALID = "the template is invalid"
_UNIT = re.compile(r"[\w.-]+")
_NEWS = ("agent.running", "agent.applied", "agent.stopped", "agent.error", "agent.removed")

Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sort of drift of one agent, in words; and what to do."""

    drift: Drift
    reason: str
    next: str


class DriftLoop:
    """One task of the daemon for all agents."""

    def __init__(
        self,
        supervisor: Supervisor,
        templates: TemplateSource,
        watcher: Watcher,
        *,
        environment: Mapping[str, str],
    ) -> None:
        """`environment` is the daemon's; only for variables that a template did not use at the spawn."""
        self._supervisor = supervisor
        self._templates = templates
        self._watcher = watcher
        self._environment = environment
        self._seen: dict[AgentId, tuple[object, Signature]] = {}
        self._basis = basis.Basis()
        self._watching: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow_agents)
            group.start_soon(self._follow_files)
            while True:
                await self._guarded(self._running())
                await anyio.sleep(_EVERY_S)

    def _running(self) -> Sequence[Actor]:
        return [a for a in self._supervisor.actors() if a.state.is_alive]

    async def _guarded(self, actors: Sequence[Actor]) -> None:
        """A loop of the daemon owns its boundary, and one agent's trouble is not another's."""
        if not actors:
            return
        containers = await self._containers()
        for actor in actors:
            try:
                await self._compare(actor, containers)
            except EnvmgrError as error:  # looked at again in a minute
                log.warning("drift not known", extra={"agent": actor.state.id, "why": error.message})
            except Exception:
                log.exception("drift not known", extra={"agent": actor.state.id})

    # --- when to look --------------------------------------------------------------------------------------------

    async def _follow_agents(self) -> None:
        with self._supervisor.bus.subscribe(*_NEWS) as news:
            while events := await news.next():
                if self._watching is not None:
                    self._watching.cancel()
                for event in events:
                    if event.kind in ("agent.running", "agent.removed"):
                        await self._note(AgentId(event.agent))

    async def _note(self, agent: AgentId) -> None:
        """An agent came up, or is gone. Its template was read a moment ago: that is not done again while others spawn."""
        actor = self._supervisor.actor(agent)
        try:
            if actor is None:
                self._seen.pop(agent, None)
                self._basis.forget(agent)
                await self._supervisor.systems.store.write(partial(footing.forget, agent=agent))
                return
            inc = await self._supervisor.incarnation(actor)
            await footing.record(inc)
            files = await blocking.look("file", _FILES_S, _signature, [*_files(actor), *footing.paths(inc)])
            if inc.generation == 1 and _are_older(files, actor.created_at):
                self._seen[agent] = (actor.spec, files)
        except EnvmgrError as error:
            log.warning("footing not recorded", extra={"agent": agent, "why": error.message})

    async def _follow_files(self) -> None:
        while True:
            with anyio.CancelScope() as self._watching:
                try:
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._catch_up)
                        await self._follow_these()
                except* EnvmgrError as errors:
                    log.warning("files not watched", extra={"why": str(errors.exceptions[0])})
                except* Exception:  # a loop of the daemon owns its boundary
                    log.exception("files not watched")
                await anyio.sleep(_EVERY_S)

    async def _follow_these(self) -> None:
        wanted = frozenset(path for actor in self._running() for path in _files(actor))
        async with aclosing(self._watcher.changes(wanted)) as bunches:
            async for touched in bunches:
                await self._guarded([a for a in self._running() if not touched.isdisjoint(_files(a))])

    async def _catch_up(self) -> None:
        """What was edited before the watch began; later than the spawns that a crowd of agents is made of."""
        await anyio.sleep(_CATCH_UP_S)
        await self._guarded(self._running())

    # --- what to see ---------------------------------------------------------------------------------------------

    async def look(self, actor: Actor) -> Sequence[Finding]:
        """Look at one agent now, whatever was seen before; what is found is remarked, too."""
        self._seen.pop(actor.state.id, None)
        return await self._compare(actor, await self._containers())

    async def _compare(
        self, actor: Actor, containers: Mapping[str, Sequence[Container]] | None
    ) -> Sequence[Finding]:
        inc = await self._supervisor.incarnation(actor)
        found = [
            await self._config(actor, inc),
            await self._runtime(actor, inc, containers),
            await self._environment_of(actor, inc),
        ]
        known = {c.subject: c.reason for c in actor.state.conditions if c.type == "Drifted"}
        for drift, reason in found:
            if reason is not None and known.get(drift.value, "") != reason:
                fact = DriftSeen(generation=inc.generation, drift=drift, reason=reason)
                await self._supervisor.apply(actor, fact)
        return tuple(
            Finding(drift=drift, reason=reason, next=_next(drift, reason, actor))
            for drift, reason in found
            if reason
        )

    async def _config(self, actor: Actor, inc: Incarnation) -> tuple[Drift, str | None]:
        """None: as it was when last seen."""
        files = await blocking.look("file", _FILES_S, _signature, [*_files(actor), *footing.paths(inc)])
        if self._seen.get(actor.state.id) == (actor.spec, files):
            return Drift.CONFIG, None
        try:
            found = await reload.propose(self._templates, actor, inc, environment=self._environment)
            is_drift = found.plan.impact is not Impact.NONE
            say = f"the template says: {reload.summary(found.plan)}; see `envmgr plan {inc.name}`"
            reason = say if is_drift else ""
        except (ConfigError, NotFound, UsageError) as error:
            first, *others = error.message.splitlines()
            more = f" (and {len(others)} more)" if others else ""
            reason = f"{_INVALID}, what runs goes on: {first}{more}"
        self._seen[actor.state.id] = (actor.spec, files)
        return Drift.CONFIG, reason

    async def _runtime(
        self, actor: Actor, inc: Incarnation, containers: Mapping[str, Sequence[Container]] | None
    ) -> tuple[Drift, str | None]:
        if actor.in_hand or actor.pending:  # what its policy starts again is no drift
            return Drift.RUNTIME, None
        found: list[str] = []
        match await find_keeper(inc):
            case Present(keeper):
                found += comparing.processes(inc, await keeper.status(), in_hand=actor.in_hand)
        if containers is None and any(unit.container for unit in inc.services):
            return Drift.RUNTIME, None
        found += comparing.containers(inc, (containers or {}).get(inc.id, ()), in_hand=actor.in_hand)
        return Drift.RUNTIME, "; ".join(found)

    async def _containers(self) -> Mapping[str, Sequence[Container]] | None:
        """All of ours by agent, in one call; None when the engine does not answer."""
        engine = self._supervisor.systems.engine
        is_needed = any(unit.container for actor in self._running() for unit in actor.spec.services)
        if engine is None or not is_needed:
            return {}
        match await engine.containers({LABEL_INSTANCE: self._supervisor.instance}):
            case Present(found):
                by_agent: dict[str, list[Container]] = {}
                for container in found:
                    by_agent.setdefault(container.labels.get(LABEL_AGENT, ""), []).append(container)
                return by_agent
            case Absent():
                return {}
        return None

    async def _environment_of(self, actor: Actor, inc: Incarnation) -> tuple[Drift, str]:
        before = await footing.recorded(inc)
        if before is None:
            await footing.record(inc)
            return Drift.ENVIRONMENT, ""
        now = await blocking.look("file", _FILES_S, footing.look, inc)
        found = list(_changed_files(before.files, now.files))
        if behind := await self._basis.moved(inc):
            found.append(f"{_base(inc)} moved on by {behind} commit{'s' if behind > 1 else ''}")
        return Drift.ENVIRONMENT, "; ".join(found)


def _changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            how = "appeared" if name not in before else "is gone" if name not in now else "changed"
            yield f"{name} {how} since the services were started"


def _base(inc: Incarnation) -> str:
    base = inc.spec.workspace.base
    return "the main checkout" if base == "HEAD" else base


def _next(drift: Drift, reason: str, actor: Actor) -> str:
    name = actor.state.name
    match drift:
        case Drift.CONFIG if reason.startswith(_INVALID):
            return (
                f"mend the template: `envmgr template validate {actor.spec.template}` tells all that is wrong"
            )
        case Drift.CONFIG:
            return f"do what the plan says: `envmgr apply {name}`"
        case Drift.RUNTIME:
            units = {unit.name for unit in actor.incarnation.services} if actor.incarnation else set()
            meant = sorted(units & set(_UNIT.findall(reason)))
            return f"put it right with `envmgr restart {name} {' '.join(meant) or 'SERVICE'}`"
        case Drift.ENVIRONMENT:
            return f"restart what needs it; `envmgr apply {name}` takes it as the new state"


def _files(actor: Actor) -> frozenset[Path]:
    """The files the agent's template was made from; of agents of older versions at least the template."""
    spec = actor.spec
    if spec.files:
        return frozenset(Path(file) for file in spec.files)
    source = Path(spec.source).expanduser()
    return frozenset({source if source.is_absolute() else Path(spec.repo) / source})


def _signature(files: Sequence[Path]) -> Signature:
    """Blocking."""
    return tuple(_stat(file) for file in sorted(files))


def _are_older(files: Signature, moment: float) -> bool:
    """Whether no file was written since then; clocks of file systems are coarse."""
    return all(one is None or one[0] / 1e9 < moment - _COARSE_S for one in files)


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
