"""An agent whose processes are a test's own children, measured by the real loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from envmgr.core.trend import TrendRules
from envmgr.drivers.gauges import LinuxGauges
from envmgr.model.event import Event
from envmgr.model.ids import AgentId
from envmgr.model.service import ServiceSpec
from envmgr.protocols.gauges import Gauges
from envmgr.runtime.actor import Actor
from envmgr.runtime.guard import Guard
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.prevention.forecasts import Forecasts
from envmgr.runtime.prevention.sampling import Pace, Sampling
from envmgr.runtime.supervisor import Supervisor
from envmgr.store.series import SqliteSeries
from tests.support.incarnations import POOL, incarnation
from tests.support.supervised import take_over

PERIOD_S = 0.02
BOLD = TrendRules(ahead=1e6)
"""Some seconds are enough to foresee half an hour."""


@dataclass(frozen=True)
class Prevented:
    """What a test works with. `look` is one turn of the loop."""

    inc: Incarnation
    supervisor: Supervisor
    actor: Actor
    series: SqliteSeries
    sampling: Sampling

    async def look(self) -> None:
        """One turn, whatever is due."""
        await self.sampling.look()

    async def told(self, kind: str) -> list[Event]:
        """Events of this kind so far."""
        events = await self.inc.systems.store.read(lambda tx: tx.events(limit=1000))
        return [event for event in events if event.kind == kind]

    @contextmanager
    def child(self, program: str, part: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Python program that belongs to a part of the agent; killed on leaving."""
        env = {**os.environ, **self.inc.marker(part)}
        child = subprocess.Popen([sys.executable, "-c", program], env=env)
        try:
            yield child
        finally:
            child.kill()
            child.wait()


@asynccontextmanager
async def prevented(
    folder: Path, *services: ServiceSpec, gauges: Gauges | None = None
) -> AsyncIterator[Prevented]:
    """Everything but the loop itself, so that a test turns it."""
    # Others run beside this one, and the marker is all that tells whose a process is.
    async with incarnation(folder, *services, agent=AgentId(f"{os.getpid():08x}")) as inc:
        series = SqliteSeries(folder / "series.db")
        inc.systems = replace(inc.systems, series=series, gauges=gauges or LinuxGauges())
        supervisor, actor = await take_over(inc)
        actor.incarnation = inc
        sampling = Sampling(
            supervisor,
            inc.systems.gauges,
            supervisor.measures,
            Guard(supervisor, period_s=PERIOD_S),
            pace=Pace(period_s=PERIOD_S, ports=POOL),
        )
        forecasts = Forecasts(
            supervisor, supervisor.measures, period_s=PERIOD_S, keep_memory_bytes=0, rules=BOLD
        )
        sampling.after = (forecasts.go_on,)
        try:
            yield Prevented(inc, supervisor, actor, series, sampling)
        finally:
            await series.close()
