"""The coordination services: made from the settings, and their loops started."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.app.task_context import known
from envmgr.bootstrap import auditing, observing, queueing
from envmgr.bootstrap.lock_rules import LockRules
from envmgr.config.settings import Settings
from envmgr.core.recalling import DAY_S
from envmgr.model.lock import LockPolicy
from envmgr.runtime.leavings import Leavings
from envmgr.runtime.lock_holders import LockHolders, life_of
from envmgr.runtime.session_watch import SessionWatch, SupervisedAgents
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.coordination import Coordination
from envmgr.services.ground import Ground
from envmgr.services.handoffs import Handoffs
from envmgr.services.keys import Keys
from envmgr.services.lock_desk import LockDesk
from envmgr.services.lock_keeping import LockKeeping
from envmgr.services.locks import Locks
from envmgr.services.meaning import Meaning, NoMeaning
from envmgr.services.memory import MemoryRules, Recollection
from envmgr.services.session_parts import SessionRules
from envmgr.services.sessions import Presence

log = logging.getLogger(__name__)


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
    locks = _locks(ground, supervisor, settings)
    queue = queueing.work_queue(
        ground,
        locks,
        supervisor,
        settings,
        abilities=lambda who: sessions.capabilities(who),
        secrets=systems.store.secrets,
    )
    rules = SessionRules(stale_s=settings.sessions.stale_s, every_s=settings.sessions.period_s)
    sessions = Presence(
        ground=ground, locks=locks, queue=queue, rules=rules, agents=SupervisedAgents(supervisor)
    )
    await sessions.load()
    changes = observing.changes(ground, locks, settings)
    sessions.warners += [queue.warn, changes.warn]
    return Coordination(
        ground=ground,
        audit=await auditing.trail(systems.store, supervisor, settings),
        keys=keys,
        memory=_memory(ground, settings),
        locks=locks,
        lock_desk=LockDesk(locks),
        queue=queue,
        queue_keeper=queueing.keeper(queue, ground, supervisor, settings),
        sessions=sessions,
        changes=changes,
        handoffs=Handoffs(ground=ground, locks=locks),
    )


def _memory(ground: Ground, settings: Settings) -> Recollection:
    rules = MemoryRules(
        dedup_window_s=settings.memory.dedup_window_s, half_life_s=settings.memory.half_life_days * DAY_S
    )
    return Recollection(ground=ground, rules=rules, meaning=_meaning(settings.memory.model))


def _meaning(model: Path | None) -> Meaning:
    if model is None:
        return NoMeaning()
    try:
        from envmgr.drivers.sentences import Sentences  # needs numpy, an extra that most do without
    except ImportError:
        log.warning("the setting memory.model is of no use without numpy: pip install 'envmgr[vectors]'")
        return NoMeaning()
    return Sentences(model.expanduser())


def _locks(ground: Ground, supervisor: Supervisor, settings: Settings) -> Locks:
    policy = LockPolicy(
        ttl_s=settings.locks.ttl_s,
        grace_s=settings.locks.grace_s,
        age_s=settings.locks.age_s,
        look_every_s=settings.locks.look_every_s,
        renew_every_s=settings.locks.renew_every_s,
    )
    return Locks(ground, policy, life=partial(life_of, supervisor), rules=LockRules(settings))


async def end(services: Coordination) -> None:
    """Agents go on, and nobody asks any more."""
    await services.keys.flush()
    await services.audit.end()


def start(services: Coordination, supervisor: Supervisor, settings: Settings, *, group: TaskGroup) -> None:
    """Begin what the services do by themselves; agents have been adopted."""
    services.audit.start(group)
    tasks.keep(group, "work queue", services.queue_keeper.run)
    Leavings(supervisor, group, every_s=services.sessions.rules.every_s).start()
    SessionWatch(supervisor, services.sessions, every_s=services.sessions.rules.every_s).start(group)
    LockHolders(supervisor, LockKeeping(services.locks)).start(group)
    brief = partial(known, services)
    queueing.dispatcher(services.queue, supervisor, settings, brief=brief).start(group)
