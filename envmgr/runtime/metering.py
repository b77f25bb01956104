"""What the processes of a unit are and use, measured look after look."""

from __future__ import annotations

import time

from envmgr.errors import Unobservable
from envmgr.model.observe import Present, ProcessIdentity, Unknown
from envmgr.model.service import ServiceSpec
from envmgr.protocols.keepers import Held
from envmgr.protocols.processes import Marks
from envmgr.runtime import owning, sharing
from envmgr.runtime.answers import Use
from envmgr.runtime.incarnation import Incarnation


class Meter:
    """One unit of an incarnation. It remembers one measurement, for the processors used since."""

    def __init__(self, inc: Incarnation, service: ServiceSpec) -> None:
        self._inc = sharing.runs_in(inc, service)
        self._service = service
        self._before: tuple[int, float, float] | None = None

    def of(self, held: Held | None) -> Metered:
        """Its processes in one launch."""
        return Metered(self, held)

    async def marks(self, held: Held | None) -> Marks:
        """What ties them to the unit."""
        root = held.identity if held and self._service.container is None else await self._inside()
        if root is None:
            raise Unobservable("its processes are out of sight", hint="Does the engine run on this machine?")
        return self._inc.marks(root, part=f"service:{self._service.name}")

    async def _inside(self) -> ProcessIdentity | None:
        """First process of its container, where the engine runs it on this machine."""
        if self._service.container is None or self._inc.systems.watch is None:
            return None
        for one in self._inc.systems.watch.of(self._inc.id):
            if owning.unit_of(self._inc, one) == self._service.name and one.pid:
                return await self._inc.identify(one.pid)
        return None

    def rate(self, launch: int, cpu_s: float) -> float | None:
        """Processors since the measurement before, of the same launch."""
        now, before = time.monotonic(), self._before
        self._before = (launch, now, cpu_s)
        if before is None or before[0] != launch or now <= before[1]:
            return None
        return (cpu_s - before[2]) / (now - before[1])

    async def use(self, held: Held | None) -> Use:
        """See `answers.Metered.use`."""
        processes = self._inc.systems.processes
        used = (await processes.usage({"": await self.marks(held)}))[""]
        return Use(
            memory_bytes=await processes.memory(used.pids),
            cpus=self.rate(held.launch if held else 0, used.cpu_s),
            open_files=await processes.open_files(used.pids),
        )

    async def commands(self, held: Held | None) -> list[str]:
        """See `answers.Metered.commands`."""
        match await self._inc.systems.processes.members(await self.marks(held)):
            case Present(members):
                return [member.command for member in members]
            case Unknown(reason):
                raise Unobservable(reason, hint="Run `envmgr doctor`.")
        return []


class Metered:
    """See `answers.Metered`."""

    def __init__(self, meter: Meter, held: Held | None) -> None:
        self._meter, self._held = meter, held

    async def commands(self) -> list[str]:
        """See `answers.Metered.commands`."""
        return await self._meter.commands(self._held)

    async def use(self) -> Use:
        """See `answers.Metered.use`."""
        return await self._meter.use(self._held)
