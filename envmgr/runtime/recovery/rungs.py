"""Carry out the measures of the ladder; whether one is taken, and which, is decided elsewhere (`core.ladder`)."""

from __future__ import annotations

from collections.abc import Callable

from envmgr.errors import Unavailable, UsageError
from envmgr.model.incident import Rung
from envmgr.runtime.actor import Actor
from envmgr.runtime.control import Control
from envmgr.runtime.moving import RECOVERY
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.recovery.reallocation import ReallocationRung
from envmgr.runtime.recovery.session import SessionRung
from envmgr.runtime.saga import never
from envmgr.runtime.settling import Act, Done
from envmgr.runtime.supervisor import Supervisor


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
        reach: Callable[[str], None] = never,
    ) -> None:
        """`keep_memory_bytes`: what a higher limit must leave free on this host. `reach` is called at each named crash point."""
        self._control = control
        self._session = SessionRung(supervisor, reach=reach)
        self._reallocation = ReallocationRung(
            supervisor, control, keep_memory_bytes=keep_memory_bytes, reach=reach
        )

    async def act(self, actor: Actor, measure: Measure) -> str:
        """Carry it out; returns what was done, for people. Do not hold `actor.busy`: it is taken here.

        Raises:
            Unobservable: Something does not answer; nothing was done, and it can be asked for again.
            Conflict: The agent does not run, or was stopped meanwhile.
            EnvmgrError: It could not be done. What it changed before is consistent, and the reason is for people.
        """
        match measure.rung:
            case Rung.SERVICE:
                return await self._restart(actor, measure)
            case Rung.SESSION:
                return await self._control.alone(actor, lambda inc: self._session.act(actor, inc, measure))
            case Rung.REALLOCATE:
                return await self._control.alone(
                    actor, lambda inc: self._reallocation.act(actor, inc, measure)
                )
            case _:
                raise UsageError(f"rung {measure.rung} is no measure of envmgr's own", hint="Look at it.")

    async def _restart(self, actor: Actor, measure: Measure) -> str:
        """Stop, with KILL for what hangs, and start again with the dependants that follow; the budget stays as it is."""
        names = [measure.unit] if measure.unit else [service.name for service in actor.spec.services]
        done = await self._control.restart(actor, names, cause=RECOVERY)
        _refuse_failures(done)
        return f"restarted {', '.join(one.unit for one in done)}"


def _refuse_failures(done: tuple[Done, ...]) -> None:
    failed = [f"{one.unit}: {one.detail}" for one in done if one.act is Act.FAILED]
    if failed:
        raise Unavailable("; ".join(failed), hint="See `envmgr why`.")
