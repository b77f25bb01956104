"""One agent in memory: its state, who may change it, and what runs for it."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from envmgr.model.agent import AgentState, Desired, Lifecycle
from envmgr.model.spec import AgentSpec
from envmgr.protocols.workspaces import Repository
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome
from envmgr.runtime.reports import Reports
from envmgr.runtime.vigil import Vigils

ASSISTANT = "(assistant)"
"""Its name among what is in hand; no service can have it."""


class Actor:
    """All changes of the state happen under `lock`, in the order of asking: one writer per agent.

    Attributes:
        version: The store's version of `state`, for the optimistic write.
        incarnation: The present generation; None while nothing of it exists in memory.
        repo: The agent's repository, as its spawn found it; None after a restart of the daemon.
        environment: The spawning person's environment; never stored.
        spawning: Cancels the running saga.
        rebuilding: Held while `incarnation` is made, so that all who ask at once get the same one.
        busy: Held while an effect of this agent runs, so that a stop waits for the spawn it cancelled.
        services: How each service stands, as last seen.
        ready_since: Steady time from which on each unit has been ready without a break, as far as this daemon saw.
        vigils: What probes have seen of each unit's present launch.
        in_hand: Units (and ASSISTANT) that are being stopped and started on purpose; what is seen of them meanwhile says nothing.
        changing: Cancels the change of services under way.
        pending: Cancels the automatic restart that each unit waits for.
        climbing: Cancels the measure of the recovery ladder that is being taken, or waited for.
        ends: Generation and launch of the last end of each unit that its restart policy was asked about.
        restoring: How far it is on its way back after a restart of the machine; empty when it is on none. Till then nothing of it runs.
        is_admitted: There was room for it, and it does not count as active yet.
        unfinished: Why a restore of a snapshot that was begun is not finished; empty when there is none. Until then it does not start.
    """

    def __init__(self, state: AgentState, spec: AgentSpec, version: int, created_at: float) -> None:
        self.state = state
        self.spec = spec
        self.version = version
        self.created_at = created_at
        self.lock = anyio.Lock()
        self.rebuilding = anyio.Lock()
        self.busy = anyio.Lock()
        self.incarnation: Incarnation | None = None
        self.repo: Repository | None = None
        self.environment: Mapping[str, str] = {}
        self.spawning: anyio.CancelScope | None = None
        self.watching: anyio.CancelScope | None = None
        self.reports = Reports()
        self.services: dict[str, Outcome] = {}
        self.ready_since: dict[str, float] = {}
        self.vigils = Vigils()
        self.in_hand: set[str] = set()
        self.changing: anyio.CancelScope | None = None
        self.pending: dict[str, anyio.CancelScope] = {}
        self.climbing: anyio.CancelScope | None = None
        self.ends: dict[str, tuple[int, int]] = {}
        self.restoring = ""
        self.unfinished = ""
        self.is_gone = False
        self.is_admitted = False
        self._changed = anyio.Event()

    def begins(self, unit: str, outcome: Outcome) -> None:
        """It is started, or waits for that: whatever it was before, it has not been ready since."""
        self.services[unit] = outcome
        self.ready_since.pop(unit, None)

    def give_way(self) -> None:
        """A stop wins over a change of services under way, over restarts that wait, and over recoveries."""
        for scope in (self.changing, self.climbing, *self.pending.values()):
            if scope is not None:
                scope.cancel()

    def changed(self) -> None:
        """Wake everybody who waits for the next state."""
        self._changed.set()
        self._changed = anyio.Event()

    async def next_change(self) -> None:
        """Until `changed` is called."""
        await self._changed.wait()

    async def settled(self) -> AgentState:
        """The state once no spawn, stop or removal is under way."""
        while not self.is_gone and self.state.lifecycle in (Lifecycle.SPAWNING, Lifecycle.STOPPING):
            await self._changed.wait()
        return self.state

    async def gone(self) -> None:
        """Until the removal under way has ended, well or not."""
        while not self.is_gone and self.state.desired is Desired.REMOVED:
            await self._changed.wait()
