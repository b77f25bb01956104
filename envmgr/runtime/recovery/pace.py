"""How often to look at what waits: for another agent, a system, a provider, the end of safe mode."""

from __future__ import annotations

import anyio

from envmgr.model.incident import Incident
from envmgr.runtime.recovery.clock import steady
from envmgr.runtime.recovery.gate import Gate
from envmgr.runtime.recovery.records import is_waiting
from envmgr.runtime.supervisor import Supervisor


class Pace:
    """Calm, for nothing is lost meanwhile, and to ask costs reads of the store and questions to the engine."""

    def __init__(self, supervisor: Supervisor, gate: Gate, *, calm_s: float) -> None:
        """`calm_s` passes between two looks at an incident that waits."""
        self._supervisor, self._gate, self._calm_s = supervisor, gate, calm_s
        self._host = gate.state
        self._looked_at: dict[int, float] = {}
        self._waits: dict[int, tuple[float, float]] = {}

    def is_due(self, incident: Incident) -> bool:
        """Whether to look now: at what does not wait always, and at all when the host's state has changed."""
        if self._host is not self._gate.state:
            self._host = self._gate.state
            self.hurry()
        if not is_waiting(incident):
            self._looked_at.pop(incident.id, None)
            self._waits.pop(incident.id, None)
            return True
        now = anyio.current_time()
        if now - self._looked_at.get(incident.id, float("-inf")) < self._calm_s:
            return False
        self._looked_at[incident.id] = now
        return True

    def hurry(self, incident: Incident | None = None) -> None:
        """Look at this one, or at all, as soon as there is a look."""
        if incident is None:
            self._looked_at.clear()
        else:
            self._looked_at.pop(incident.id, None)

    def waited_s(self, incident: Incident) -> float:
        """How long it has been waiting, under this daemon; the next one counts anew."""
        began, now = incident.climbs[-1].at, steady(self._supervisor.systems)
        known, since = self._waits.get(incident.id, (None, now))
        self._waits[incident.id] = (began, since if known == began else now)
        return now - self._waits[incident.id][1]
