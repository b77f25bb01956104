"""All operations. Importing this module declares them."""

from envmgr.app import (
    agents,
    archiving,
    capacity,
    forking,
    health,
    importing,
    notes,
    recovery,
    reload,
    resources,
    scaling,
    snapshots,
    spawning,
    system,
    templating,
    terminals,
    undoing,
)
from envmgr.app.operations import OPERATIONS, Operation

__all__ = [
    "OPERATIONS",
    "Operation",
    "agents",
    "archiving",
    "capacity",
    "forking",
    "health",
    "importing",
    "notes",
    "recovery",
    "reload",
    "resources",
    "scaling",
    "snapshots",
    "spawning",
    "system",
    "templating",
    "terminals",
    "undoing",
]
