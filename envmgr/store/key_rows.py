"""Keys, in SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from envmgr.errors import Conflict
from envmgr.model.principal import PrincipalKind
from envmgr.protocols.keys import Key

_KEY = "SELECT id, hash, kind, name, agent, generation, scopes, created_at, expires_at, revoked_at, used_at FROM api_key"
_ADD = (
    "INSERT INTO api_key (id, hash, kind, name, agent, generation, scopes, created_at, expires_at, revoked_at, used_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class KeyRows:
    """`envmgr.protocols.keys.Keys` on a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany

    def add(self, key: Key) -> None:
        row = (
            key.id, key.hash, key.kind.value, key.name, key.agent, key.generation, " ".join(key.scopes),
            key.created_at, key.expires_at, key.revoked_at, key.used_at,
        )  # fmt: skip
        try:
            self._execute(_ADD, row)
        except sqlite3.IntegrityError as error:
            raise Conflict(f"there is a key {key.id} already", hint="Try again.") from error

    def find(self, hash: str) -> Key | None:  # noqa: A002 - the field's name
        row = self._execute(f"{_KEY} WHERE hash = ?", (hash,)).fetchone()
        return _key(row) if row else None

    def list(self) -> Sequence[Key]:
        return [_key(row) for row in self._execute(f"{_KEY} ORDER BY created_at, id")]

    def revoke(self, id: str, *, at: float) -> bool:  # noqa: A002 - the field's name
        changed = self._execute("UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at = 0", (at, id))
        return changed.rowcount > 0

    def revoke_agent(self, agent: str, *, at: float) -> int:
        changed = self._execute(
            "UPDATE api_key SET revoked_at = ? WHERE agent = ? AND agent != '' AND revoked_at = 0",
            (at, agent),
        )
        return changed.rowcount

    def used(self, at: Mapping[str, float]) -> None:
        rows = [(moment, id_) for id_, moment in at.items()]
        self._executemany("UPDATE api_key SET used_at = ? WHERE id = ?", rows)

    def forget(self, *, before_at: float) -> int:
        removed = self._execute(
            "DELETE FROM api_key WHERE (revoked_at > 0 AND revoked_at < ?) OR (expires_at > 0 AND expires_at < ?)",
            (before_at, before_at),
        )
        return removed.rowcount


def _key(
    row: tuple[str, str, str, str, str, int, str, float, float, float, float],
) -> Key:
    id_, hash_, kind, name, agent, generation, scopes, created, expires, revoked, used = row
    return Key(
        id=id_, hash=hash_, kind=PrincipalKind(kind), name=name, agent=agent, generation=generation,
        scopes=tuple(scopes.split()), created_at=created, expires_at=expires, revoked_at=revoked, used_at=used,
    )  # fmt: skip
