"""The coordination services: made from the settings, and their loops started."""

from __future__ import annotations

from anyio.abc import TaskGroup

from envmgr.config.settings import Settings
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.coordination import Coordination
from envmgr.services.ground import Ground


def coordination(supervisor: Supervisor, settings: Settings) -> Coordination:
    """All services; nothing runs yet."""
    systems = supervisor.systems
    ground = Ground(
        store=systems.store, now=systems.now, steady=systems.steady, publish=supervisor.bus.publish
    )
    return Coordination(ground=ground)


def start(services: Coordination, supervisor: Supervisor, group: TaskGroup) -> None:
    """Begin what the services do by themselves; agents have been adopted."""
