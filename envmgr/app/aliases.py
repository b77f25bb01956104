"""Paths of other coordinators that lead to operations of ours, so that their clients need not be changed.

Where an operation's own route is the one that they name, nothing stands here. Names of fields are aliases of the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envmgr.app.operations import Operation
from envmgr.app.registry import OPERATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another route of an operation. Its placeholders are fields of the operation, as those of its own."""

    route: tuple[str, str]
    op: Operation


_ROUTES = {
    # Agent Coordinator
    "POST /work/submit": "task.submit",
    "POST /work/claim": "task.claim",
    "POST /work/complete": "task.complete",
    "POST /work/heartbeat": "task.heartbeat",
    "POST /work/cancel": "task.cancel",
    "POST /work/get": "task.get",
    "GET /locks/{target}": "lock.why",
    "GET /locks/status/{target}": "lock.why",
    "DELETE /locks/{targets}": "lock.release",
    "POST /agents/register": "session.register",
    "POST /agents/heartbeat": "session.heartbeat",
    "GET /discovery/agents": "session.discover",
    "POST /discovery/register": "session.register",
    "POST /discovery/heartbeat": "session.heartbeat",
    "POST /memory/store": "memory.remember",
    "POST /handoffs/write": "handoff.write",
    "GET /handoffs/latest": "handoff.read",
    "POST /handoffs/read": "handoff.read",
    "POST /agents/{agents}/kill": "agent.stop",
    # GoZen
    "GET /agent/sessions": "session.discover",
    "GET /agent/sessions/{agent}": "agent.show",
    "POST /agent/sessions/{agents}/kill": "agent.stop",
    "GET /agent/locks": "lock.list",
    "GET /agent/changes": "changes.list",
}


def aliases() -> Sequence[Alias]:
    """All of them, in the order of their paths."""
    found = []
    for words, name in sorted(_ROUTES.items()):
        method, path = words.split(" ")
        found.append(Alias(route=(method, f"/api/v1{path}"), op=OPERATIONS[name]))
    return found
