"""The work queue: made from the settings."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection

from envmgr.config.settings import Settings
from envmgr.model.principal import Principal
from envmgr.runtime.dispatching.dispatcher import Dispatcher
from envmgr.runtime.supervisor import Supervisor
from envmgr.runtime.task_holders import TaskHolders
from envmgr.services.ground import Ground
from envmgr.services.locks import Locks
from envmgr.services.queue.claiming import Claimed
from envmgr.services.queue.keeping import QueueKeeper
from envmgr.services.queue.locking import LocksOfTasks
from envmgr.services.queue.queue import Queue
from envmgr.services.queue.rules import Footing, QueueRules

_DAY_S = 86_400.0


def work_queue(
    ground: Ground,
    locks: Locks,
    supervisor: Supervisor,
    settings: Settings,
    *,
    abilities: Callable[[Principal], Collection[str]],
    secrets: Collection[str],
) -> Queue:
    """Nothing runs yet. `secrets`: values that are known by now; it grows."""
    holders = TaskHolders(supervisor)
    footing = Footing(
        rules=_rules(settings),
        locks=LocksOfTasks(locks, ttl_s=settings.queue.lease_s),
        draw=random.random,
        abilities=abilities,
        life=holders.life,
        was_stopped=holders.was_stopped,
        secrets=secrets,
    )
    return Queue(ground, footing)


def keeper(queue: Queue, ground: Ground, supervisor: Supervisor, settings: Settings) -> QueueKeeper:
    """Who looks after leases and holders."""
    period_s, gone = settings.queue.period_s, TaskHolders(supervisor).gone
    return QueueKeeper(queue, ground, _rules(settings), period_s=period_s, gone=gone)


def dispatcher(
    queue: Queue, supervisor: Supervisor, settings: Settings, *, brief: Callable[[Claimed], Awaitable[str]]
) -> Dispatcher:
    """Who gives tasks to idle agents."""
    period_s, lease_s = settings.queue.dispatch_s, settings.queue.lease_s
    return Dispatcher(supervisor, queue, period_s=period_s, lease_s=lease_s, brief=brief)


def _rules(settings: Settings) -> QueueRules:
    return QueueRules(
        lease_s=settings.queue.lease_s,
        back_off_s=settings.queue.back_off_s,
        most_back_off_s=settings.queue.most_back_off_s,
        ageing_s=settings.queue.ageing_s,
        remember_s=settings.queue.remember_s,
        keep_s=settings.queue.keep_days * _DAY_S,
        most_in_batch=settings.queue.max_batch,
    )
