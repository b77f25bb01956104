"""Keys by which agents and programs say who they are. Only a key's hash is ever stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from envmgr.model.principal import PrincipalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is known of a key.

    Attributes:
        id: Short, for people and for revoking; no secret.
        hash: SHA-256 of the key, in hexadecimal.
        name: The agent's name, or what the person called it who made it.
        agent: The agent's id; empty for a program's.
        generation: Of the agent that got it; 0 for a program's.
        created_at: Unix time, as all that follow; 0 stands for never.
        revoked_at: 0 while it is good.
        used_at: When it was used last, to the minute.
    """

    id: str
    hash: str
    kind: PrincipalKind
    name: str
    agent: str = ""
    generation: int = 0
    scopes: tuple[str, ...] = ()
    created_at: float = 0.0
    expires_at: float = 0.0
    revoked_at: float = 0.0
    used_at: float = 0.0


class Keys(Protocol):
    """Part of a transaction, `tx.keys`."""

    def add(self, key: Key) -> None:
        """Store it. Raises Conflict if the id or the hash is taken."""

    def find(self, hash: str) -> Key | None:  # noqa: A002 - the field's name
        """The key with this hash, revoked or not."""

    def list(self) -> Sequence[Key]:
        """All keys, oldest first."""

    def revoke(self, id: str, *, at: float) -> bool:  # noqa: A002 - the field's name
        """Make it worthless; False when there is none that is still good."""

    def revoke_agent(self, agent: str, *, at: float) -> int:
        """Make all keys of an agent worthless; returns how many there were."""

    def used(self, at: Mapping[str, float]) -> None:
        """Note when these keys (by id) were used last."""

    def forget(self, *, before_at: float) -> int:
        """Drop keys that were revoked or have expired before that; returns how many."""
