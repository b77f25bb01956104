"""Carry out the measures of the ladder; whether one is taken, and which, is decided elsewhere (`core.ladder`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from envmgr.aio import blocking
from envmgr.errors import Conflict, EnvmgrError, Unavailable, UsageError
from envmgr.model.incident import FailureClass, Rung
from envmgr.protocols.store import Snapshot
from envmgr.runtime import checkpoints
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.moving import RECOVERY
from envmgr.runtime.recovery import ground
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.recovery.measures import NotSaved
from envmgr.runtime.recovery.reallocation import ReallocationRung
from envmgr.runtime.recovery.respawn import RespawnRung
from envmgr.runtime.recovery.session import SessionRung
from envmgr.runtime.saga import never
from envmgr.runtime.settling import Act, Done
from envmgr.runtime.supervisor import Supervisor
from envmgr.runtime.tiers import megabytes


class Rungs:
    """One measure at a time per agent, under the lease of `Control`: a stop of the agent ends the one under way.

    All may run twice: a measure that a crash cut off is asked for again with the same key.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        control: Control,
        *,
        keep_memory_bytes: int = 0,
        relieve: Callable[[], Awaitable[int]] | None = None,
        reach: Callable[[str], None] = never,
    ) -> None:
        """`keep_memory_bytes`: what must stay free on this host. `reach` is called at each named crash point.

        Args:
            relieve: Makes room on a full disk; returns the bytes that were freed.
        """
        self._control, self._reach, self._relieve = control, reach, relieve
        self._session = SessionRung(supervisor, reach=reach)
        self._reallocation = ReallocationRung(
            supervisor, control, keep_memory_bytes=keep_memory_bytes, reach=reach
        )
        self._respawn = RespawnRung(keep_memory_bytes=keep_memory_bytes, reach=reach)

    async def act(self, actor: Actor, measure: Measure) -> str:
        """Carry it out; returns what was done, for people. Do not hold `actor.busy`: it is taken here.

        Raises:
            Unobservable: Something does not answer; nothing was done, and it can be asked for again.
            NotSaved: It might cost work, and that could not be saved; nothing was done.
            Conflict: The agent does not run, or was stopped meanwhile.
            EnvmgrError: It could not be done. What it changed before is consistent, and the reason is for people.
        """
        match measure.rung:
            case Rung.SERVICE:
                return await self._restart(actor, measure)
            case Rung.SESSION:
                return await self._saved_first(
                    actor, measure, lambda inc, _: self._session.act(actor, inc, measure)
                )
            case Rung.REALLOCATE:
                room = await self._make_room(measure)
                said = await self._saved_first(
                    actor, measure, lambda inc, _: self._reallocation.act(actor, inc, measure)
                )
                return f"{room}{said}"
            case Rung.RESPAWN:
                return await self._prepare(actor, measure)
            case Rung.WAIT | Rung.PERSON:
                raise UsageError(f"rung {measure.rung.value} is no act", hint="Look with `envmgr why`.")

    async def _make_room(self, measure: Measure) -> str:
        """First of all: on a full disk nothing can be saved."""
        if measure.failure is not FailureClass.DISK or self._relieve is None:
            return ""
        return f"{megabytes(await self._relieve())} of disk freed; "

    async def _restart(self, actor: Actor, measure: Measure) -> str:
        """Stop, with KILL for what hangs, and start again with the dependants that follow; the budget stays as it is."""
        names = [measure.unit] if measure.unit else [service.name for service in actor.spec.services]
        if not names:
            raise Conflict(f"{actor.state.name} has no services", hint="Nothing to restart.")
        done = await self._control.restart(actor, names, cause=RECOVERY)
        _refuse_failures(done)
        return f"restarted {', '.join(one.unit for one in done)}"

    async def _saved_first(
        self, actor: Actor, measure: Measure, act: Callable[[Incarnation, Snapshot], Awaitable[str]]
    ) -> str:
        async def saved(inc: Incarnation) -> str:
            if not await ground.is_there(inc):
                raise Conflict(f"the worktree of {inc.name} is gone", hint="A respawn makes it again.")
            return await act(inc, await self._save(inc, measure))

        # A move of services is not left half done; what else it is gives way to a person's request.
        gives_way = measure.rung is not Rung.REALLOCATE
        return await self._control.alone(actor, saved, ends_with_asker=gives_way)

    async def _prepare(self, actor: Actor, measure: Measure) -> str:
        async def prepare(inc: Incarnation) -> str:
            is_there, rebuilt, snapshot = await ground.is_there(inc), "", None
            if is_there:
                snapshot = await self._save(inc, measure)
            else:
                self._reach("rung-respawn-rebuilding")
                rebuilt = await ground.rebuild(inc)
            return await self._respawn.act(inc, measure, snapshot, rebuilt)

        return await self._control.alone(actor, prepare, ends_with_asker=True)

    async def _save(self, inc: Incarnation, measure: Measure) -> Snapshot:
        await blocking.act("file", ground.free_index, inc.path)
        try:
            return await checkpoints.checkpoint(inc, _WORDS[measure.rung], reach=self._reach)
        except EnvmgrError as error:
            raise NotSaved(
                f"the work of {inc.name} could not be saved first: {error.message}", hint=error.hint
            ) from error


_WORDS = {
    Rung.SESSION: "session recreation",
    Rung.REALLOCATE: "reallocation",
    Rung.RESPAWN: "respawn",
}


def _refuse_failures(done: tuple[Done, ...]) -> None:
    failed = [f"{one.unit}: {one.detail}" for one in done if one.act is Act.FAILED]
    if failed:
        raise Unavailable("; ".join(failed), hint="See `envmgr why`.")
