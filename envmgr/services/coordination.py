"""The coordination services of one daemon."""

from __future__ import annotations

from dataclasses import dataclass

from envmgr.services.audit.trail import Trail
from envmgr.services.changes import Changes
from envmgr.services.ground import Ground
from envmgr.services.handoffs import Handoffs
from envmgr.services.keys import Keys
from envmgr.services.lock_desk import LockDesk
from envmgr.services.locks import Locks
from envmgr.services.memory import Recollection
from envmgr.services.queue.keeping import QueueKeeper
from envmgr.services.queue.queue import Queue
from envmgr.services.sessions import Presence


@dataclass(slots=True, kw_only=True)
class Coordination:
    """What agents coordinate through; made once by `bootstrap.coordination`."""

    ground: Ground
    audit: Trail
    keys: Keys
    memory: Recollection
    locks: Locks
    lock_desk: LockDesk
    queue: Queue
    queue_keeper: QueueKeeper
    sessions: Presence
    changes: Changes
    handoffs: Handoffs
