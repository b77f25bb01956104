"""The work queue: made from the settings."""

from __future__ import annotations

import random
from functools import partial

from envmgr.config.settings import Settings
from envmgr.model.agent import Lifecycle
from envmgr.model.ids import AgentId
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.ground import Ground
from envmgr.services.queue.keeping import QueueKeeper
from envmgr.services.queue.queue import Queue
from envmgr.services.queue.rules import Footing, NoLocks, QueueRules

_DAY_S = 86_400.0
_STOPPED = (Lifecycle.STOPPED, Lifecycle.STOPPING)


def work_queue(ground: Ground, settings: Settings) -> Queue:
    """Nothing runs yet."""
    footing = Footing(rules=_rules(settings), locks=NoLocks(), draw=random.random)
    return Queue(ground, footing)


def keeper(queue: Queue, ground: Ground, settings: Settings, supervisor: Supervisor) -> QueueKeeper:
    """Who looks after leases and holders."""
    period_s, gone = settings.queue.period_s, partial(_gone, supervisor)
    return QueueKeeper(queue, ground, _rules(settings), period_s=period_s, gone=gone)


def _rules(settings: Settings) -> QueueRules:
    said = settings.queue
    return QueueRules(
        lease_s=said.lease_s,
        back_off_s=said.back_off_s,
        most_back_off_s=said.most_back_off_s,
        ageing_s=said.ageing_s,
        remember_s=said.remember_s,
        keep_s=said.keep_days * _DAY_S,
        most_in_batch=said.max_batch,
    )


def _gone(supervisor: Supervisor, holder: str, claimed_at: float) -> str:
    """People and programs are never known to be gone: their leases run out."""
    if ":" in holder:
        return ""
    actor = supervisor.actor(AgentId(holder))
    if actor is None or actor.state.lifecycle in _STOPPED:
        return "stopped"
    return ""
