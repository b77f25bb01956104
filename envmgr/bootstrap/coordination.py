"""The coordination services: made from the settings, and their loops started."""

from __future__ import annotations

from dataclasses import replace

from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.config.settings import Settings
from envmgr.core.recalling import DAY_S
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.coordination import Coordination
from envmgr.services.ground import Ground
from envmgr.services.keys import Keys
from envmgr.services.memory import MemoryRules, Recollection


async def coordination(supervisor: Supervisor, settings: Settings) -> Coordination:
    """All services; nothing runs yet, and no agent has been adopted."""
    systems = supervisor.systems
    assert isinstance(systems.store, AuditedStore), "as `bootstrap.daemon` opened it"
    ground = Ground(
        store=systems.store, now=systems.now, steady=systems.steady, publish=supervisor.bus.publish
    )
    keys = Keys(ground)
    await keys.load()
    supervisor.systems = replace(systems, keys=keys)  # whoever starts an assistant gives it one
    return Coordination(
        ground=ground,
        recorder=systems.store,
        keys=keys,
        memory=_memory(ground, settings),
    )


def _memory(ground: Ground, settings: Settings) -> Recollection:
    said = settings.memory
    rules = MemoryRules(dedup_window_s=said.dedup_window_s, half_life_s=said.half_life_days * DAY_S)
    return Recollection(ground=ground, rules=rules)


def start(services: Coordination, supervisor: Supervisor, group: TaskGroup) -> None:
    """Begin what the services do by themselves; agents have been adopted."""
    tasks.keep(group, "recording", services.recorder.run)
