"""Who is asking, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

EVERYTHING = frozenset({"*"})


class PrincipalKind(StrEnum):
    """How we know them."""

    PERSON = "person"
    """The owner of the socket, without a key."""
    AGENT = "agent"
    """By the key that an agent got at its spawn."""
    PROGRAM = "program"
    """By a key that a person made."""
    DAEMON = "daemon"
    """envmgr itself."""


class Scope(StrEnum):
    """Groups of operations that a key may be good for. `*` stands for all of them."""

    READ = "read"
    """See agents, services, logs, templates, this host."""
    OPERATE = "operate"
    """Change agents and what belongs to them."""
    DESTROY = "destroy"
    """Remove things."""
    ADMIN = "admin"
    """Keys, forced releases, and what concerns the whole installation."""
    LOCKS = "locks"
    WORK = "work"
    HANDOFFS = "handoffs"
    SESSIONS = "sessions"
    MEMORY = "memory"
    AUDIT = "audit"
    """Read the audit trail."""


AGENT_SCOPES = frozenset(
    {Scope.READ, Scope.LOCKS, Scope.WORK, Scope.HANDOFFS, Scope.SESSIONS, Scope.MEMORY, Scope.AUDIT}
)
"""What an agent's key is good for unless its template says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking.

    Attributes:
        name: What people call them: the agent's name, the key's name, the user's name.
        agent: The agent's id; empty for all others. Whoever coordinates (locks, tasks, ...) is identified by `id`.
        session: The session of the agent that asks, if it says so; one agent may have several.
        parent: Id of the one it works for, whose locks are not in its way; empty as a rule.
    """

    kind: PrincipalKind
    name: str
    agent: str = ""
    session: str = ""
    parent: str = ""
    scopes: frozenset[str] = EVERYTHING

    @property
    def id(self) -> str:
        """Stable: the agent's id, or kind and name."""
        return self.agent or f"{self.kind}:{self.name}"

    def may(self, scope: str) -> bool:
        """Whether they may call operations of the scope."""
        return "*" in self.scopes or scope in self.scopes


DAEMON = Principal(kind=PrincipalKind.DAEMON, name="envmgr")
STRANGER = Principal(kind=PrincipalKind.PROGRAM, name="(unknown)", scopes=frozenset())
"""Without a good key."""
