"""All operations. Importing this module declares them."""

from envmgr.app import agents, notes, reload, scaling, spawning, system, templating, terminals
from envmgr.app.operations import OPERATIONS, Operation

__all__ = [
    "OPERATIONS",
    "Operation",
    "agents",
    "notes",
    "reload",
    "scaling",
    "spawning",
    "system",
    "templating",
    "terminals",
]
