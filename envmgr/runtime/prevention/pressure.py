"""Say when the host itself is short of something just now, once, and when that is over."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.model.event import NewEvent
from envmgr.protocols.gauges import HostFigures
from envmgr.runtime.measures import Measures
from envmgr.runtime.supervisor import Supervisor

_STALLED = {"memory.some": 20.0, "memory.full": 5.0, "io.full": 30.0}
"""Per cent of the last ten seconds in which work waited (PSI). Waiting for processors is no trouble of the host: all get on."""
_LOOKS = 2
"""So often in a row, before it is told: a burst is none."""
_RELIEF = 0.5
_CALM_LOOKS = 3
_LOW_DISK = 0.05


class Pressure:
    """Goes on after each look of the sampling loop; what is short is in the measures.

    Args:
        keep_memory_bytes, keep_disk_bytes: What must remain for new agents; with less there is pressure.
    """

    def __init__(
        self, supervisor: Supervisor, measures: Measures, *, keep_memory_bytes: int, keep_disk_bytes: int
    ) -> None:
        self._supervisor = supervisor
        self._measures = measures
        self._keep_memory_bytes = keep_memory_bytes
        self._keep_disk_bytes = keep_disk_bytes
        self._seen: dict[str, int] = {}
        self._calm: dict[str, int] = {}

    async def go_on(self) -> None:
        """Judge the host's figures."""
        host = self._measures.host
        if host is None:
            return
        short = self.reasons(host)
        self._seen = {what: self._seen.get(what, 0) + 1 for what in short}
        for what, reason in short.items():
            if what not in self._calm and self._seen[what] >= _LOOKS:
                data = {"subject": what, "reason": reason}
                await self._supervisor.record(NewEvent(kind="host.pressure", data=data))
                self._calm[what] = 0
        still = self.reasons(host, part=_RELIEF)
        for what in list(self._calm):
            self._calm[what] = 0 if what in still else self._calm[what] + 1
            if self._calm[what] >= _CALM_LOOKS:
                del self._calm[what]
                await self._supervisor.record(NewEvent(kind="host.relieved", data={"subject": what}))
        self._measures.short = {what: short.get(what, still.get(what, "")) for what in self._calm}

    def reasons(self, host: HostFigures, *, part: float = 1.0) -> Mapping[str, str]:
        """What is short, and why; with a smaller `part` sooner, for who waits until it is surely over."""
        found = {}
        for name, limit in _STALLED.items():
            if (stalled := host.pressure.get(name, 0.0)) > limit * part:
                what = name.partition(".")[0]
                found[what] = f"work waited for {what} in {stalled:.0f} % of the last 10 s"
        if host.available_bytes < self._keep_memory_bytes * (2 - part):
            found["memory"] = f"{host.available_bytes / 1e6:.0f} MB of memory are available"
        for label, system in host.systems.items():
            if system.free_bytes < self._keep_disk_bytes * (2 - part):
                found["disk"] = f"{system.free_bytes / 1e6:.0f} MB are free on the disk of {label}"
            if system.total_files and system.free_files < _LOW_DISK * (2 - part) * system.total_files:
                found["inodes"] = f"{system.free_files} inodes are free on the disk of {label}"
        return found
