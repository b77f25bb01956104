"""Who a key belongs to, and what it is good for.

A key is 256 random bits. Its SHA-256 is stored: a slow hash guards what people choose and others can guess, and nobody
guesses 256 bits. Every good key is known in memory, so a request costs one hash and one lookup.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from envmgr.errors import Conflict, Denied, NotFound, UsageError
from envmgr.model.principal import EVERYTHING, Principal, PrincipalKind, Scope
from envmgr.protocols.keys import Key
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground

PREFIX = "emk_"
"""What every key begins with, so that people, masks and scanners of repositories know one when they see it."""

_BYTES = 32
_ID_BYTES = 4
_USE_S = 60.0
_SCOPES = frozenset({"*", *Scope})


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key. `clear` is shown or handed over once, and is known nowhere afterwards."""

    clear: str = field(repr=False)
    key: Key


class Keys:
    """All keys of this installation.

    `issue` and `revoke...` are parts of somebody's change. They take effect in memory at once, on the safe side of that
    change being undone: a key that came to nothing was never handed to anybody, and one that was about to be revoked stays
    worthless until the next start of the daemon, which goes by what is stored.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._good: dict[str, tuple[Key, Principal]] = {}
        self._used: dict[str, float] = {}

    async def load(self) -> None:
        """Learn what is stored; call it before anybody asks."""
        for key in await self._ground.read(lambda tx: tx.keys.list()):
            if not key.revoked_at:
                self._good[key.hash] = (key, _principal(key))

    def principal(self, clear: str) -> Principal | None:
        """Whose key this is; None for one that is unknown, revoked or expired. Neither waits nor asks the store."""
        known = self._good.get(hashed(clear))
        if known is None:
            return None
        key, principal = known
        now = self._ground.steady()
        if key.expires_at and now >= key.expires_at:
            return None
        if now - self._used.get(key.id, key.used_at) >= _USE_S:
            self._used[key.id] = now
        return principal

    def agent(self, agent: str) -> Principal | None:
        """An agent by its id, as its good key has it; None without one."""
        return next((who for key, who in self._good.values() if key.agent == agent != ""), None)

    def issue(
        self,
        tx: Transaction,
        *,
        name: str,
        kind: PrincipalKind = PrincipalKind.AGENT,
        agent: str = "",
        generation: int = 0,
        scopes: Collection[str] = EVERYTHING,
        expires_at: float = 0.0,
    ) -> Issued:
        """Make a key; it works as soon as the change of `tx` is done.

        Args:
            name: What people call whoever gets it: the agent's name, the program's.
            agent: The agent's id.
            expires_at: On the clock of `Ground.steady`; 0 for never.

        Raises:
            UsageError: There is no such scope.
        """
        _check(scopes)
        clear = PREFIX + secrets.token_urlsafe(_BYTES)
        key = Key(
            id=secrets.token_hex(_ID_BYTES),
            hash=hashed(clear),
            kind=kind,
            name=name,
            agent=agent,
            generation=generation,
            scopes=tuple(sorted(scopes)),
            created_at=self._ground.steady(),
            expires_at=expires_at,
        )
        tx.keys.add(key)
        self._good[key.hash] = (key, _principal(key))
        return Issued(clear=clear, key=key)

    def revoke_agent(self, tx: Transaction, agent: str, *, except_generation: int = -1) -> int:
        """Make the keys of an agent worthless, but for those of one generation; returns how many there were."""
        good = [k for k, _ in list(self._good.values()) if k.agent == agent != ""]
        gone = [key for key in good if key.generation != except_generation]
        for key in gone:
            self._revoke(tx, key)
        return len(gone)

    async def create(
        self, name: str, *, scopes: Collection[str], lasts_s: float | None = None, by: Principal
    ) -> Issued:
        """Make a key for a program.

        Raises:
            UsageError: There is no such scope, or none is named.
            Denied: `by` lacks a scope that the key would have.
            Conflict: A good key has that name: whoever acts is known by it.
        """
        if not scopes:
            raise UsageError(
                "a key must be good for something", hint=f"There are {', '.join(sorted(_SCOPES))}."
            )
        _check(scopes)
        if lacking := [scope for scope in sorted(scopes) if not by.may(scope)]:
            raise Denied(
                f"{by.name} cannot give what it does not have: {', '.join(lacking)}",
                hint="Ask a person to make the key.",
            )
        expires_at = self._ground.steady() + lasts_s if lasts_s is not None else 0.0

        def change(tx: Transaction) -> Issued:
            if any(key.name == name and not key.agent for key in self._alive(tx)):
                raise Conflict(
                    f"there is a key {name!r} already", hint="Revoke that one, or choose another name."
                )
            kind = PrincipalKind.PROGRAM
            return self.issue(tx, name=name, kind=kind, scopes=scopes, expires_at=expires_at)

        return await self._ground.store.write(change)

    async def known(self, *, is_all: bool = False) -> list[Key]:
        """Keys that are good, oldest first; or all that are remembered."""
        await self.flush()
        return await self._ground.read(lambda tx: list(tx.keys.list()) if is_all else self._alive(tx))

    async def revoke(self, wanted: str) -> Key:
        """Make a key worthless, by its id or name.

        Raises:
            NotFound: There is no good key of that id or name.
        """

        def change(tx: Transaction) -> Key:
            for key in self._alive(tx):
                if wanted in (key.id, "" if key.agent else key.name):
                    self._revoke(tx, key)
                    return key
            raise NotFound(f"there is no key {wanted!r}", hint="See `envmgr key list`.")

        return await self._ground.store.write(change)

    async def flush(self) -> None:
        """Write down when keys were used last."""
        if self._used:
            used, self._used = self._used, {}
            await self._ground.store.write(lambda tx: tx.keys.used(used))

    def _revoke(self, tx: Transaction, key: Key) -> None:
        tx.keys.revoke(key.id, at=self._ground.steady())
        self._good.pop(key.hash, None)

    def _alive(self, tx: Transaction) -> list[Key]:
        now = self._ground.steady()
        return [key for key in tx.keys.list() if not key.revoked_at and not 0 < key.expires_at <= now]


def hashed(clear: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(clear.encode("utf-8", "surrogatepass")).hexdigest()


def _check(scopes: Collection[str]) -> None:
    if unknown := sorted(set(scopes) - _SCOPES):
        raise UsageError(f"there is no scope {unknown[0]!r}", hint=f"There are {', '.join(sorted(_SCOPES))}.")


def _principal(key: Key) -> Principal:
    return Principal(kind=key.kind, name=key.name, agent=key.agent, scopes=frozenset(key.scopes))
