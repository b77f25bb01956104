"""The coordination services of one daemon."""

from __future__ import annotations

from dataclasses import dataclass

from envmgr.services.audit.recording import AuditedStore
from envmgr.services.ground import Ground
from envmgr.services.keys import Keys
from envmgr.services.memory import Recollection


@dataclass(slots=True, kw_only=True)
class Coordination:
    """What agents coordinate through; made once by `bootstrap.coordination`."""

    ground: Ground
    recorder: AuditedStore
    keys: Keys
    memory: Recollection
