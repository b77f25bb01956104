"""What operations work with: one App per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio

from envmgr.errors import Unavailable
from envmgr.model.door import DoorPolicy
from envmgr.protocols.engine import Engine
from envmgr.protocols.scopes import Scopes
from envmgr.protocols.templates import TemplateSource
from envmgr.runtime.control import Control
from envmgr.runtime.drift import DriftLoop
from envmgr.runtime.maintenance.maintenance import Maintenance
from envmgr.runtime.reaping.reaper import Reaper
from envmgr.runtime.recovery.conductor import Conductor
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.coordination import Coordination

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class App:
    """Everything an operation may use.

    Attributes:
        supervisor, control: None outside the daemon; operations that need agents then refuse.
        drift: Compares agents with their templates; None outside the daemon.
        recovery: Mends what fails; None outside the daemon.
        reaper: Finds and removes what nobody owns; None outside the daemon, and until adoption has finished.
        maintenance: Keeps things from growing for ever; None outside the daemon.
        coordination: What agents coordinate through; None outside the daemon.
        recorder: Records each call; None outside the daemon.
        door: Who may come in over HTTP.
        is_on_tcp: Whether that door is open, too.
        proved_at: When the store was last seen to take a change; monotonic.
        code: Fingerprint of the daemon's code as it was at its start.
        stopping: Set to end the daemon.
        worktree_root: Folder of all worktrees.
        engine: To see whether it answers; what runs in it is the supervisor's.
        find_scopes: Sees whether the kernel's limits can be used; blocking, at most 3 s.
    """

    state_dir: Path
    worktree_root: Path
    version: str
    templates: TemplateSource
    engine: Engine
    find_scopes: Callable[[], Scopes] = Scopes
    supervisor: Supervisor | None = None
    control: Control | None = None
    drift: DriftLoop | None = None
    recovery: Conductor | None = None
    reaper: Reaper | None = None
    maintenance: Maintenance | None = None
    coordination: Coordination | None = None
    recorder: AuditedStore | None = None
    door: DoorPolicy = field(default_factory=DoorPolicy)
    is_on_tcp: bool = False
    proved_at: float = float("-inf")
    stopping: anyio.Event | None = None
    started_at: float = 0.0
    code: str = ""

    @property
    def drifts(self) -> DriftLoop:
        """Who looks for drift."""
        return _of_the_daemon(self.drift)

    @property
    def leftovers(self) -> Reaper:
        """Who looks for things of nobody."""
        return _of_the_daemon(self.reaper)

    @property
    def conductor(self) -> Conductor:
        """Who mends what fails."""
        return _of_the_daemon(self.recovery)

    @property
    def upkeep(self) -> Maintenance:
        """Who does what is done now and then."""
        return _of_the_daemon(self.maintenance)

    @property
    def coordinator(self) -> Coordination:
        """Locks, tasks, memory and the like."""
        return _of_the_daemon(self.coordination)

    @property
    def agents(self) -> Supervisor:
        """The supervisor of this host."""
        return _of_the_daemon(self.supervisor)

    @property
    def services(self) -> Control:
        """Changes of what runs of an agent."""
        return _of_the_daemon(self.control)


def _of_the_daemon(part: T | None) -> T:
    if part is None:
        raise Unavailable("this needs the daemon", hint="Run `envmgr daemon start`.")
    return part
