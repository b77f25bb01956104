"""What a change or query can do, in SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from envmgr.errors import Conflict, StaleState
from envmgr.model.agent import AgentState
from envmgr.model.effect import Effect
from envmgr.model.event import Event, NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import Incident
from envmgr.model.lease import PortLease, StepRecord, Tombstone
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import AgentRecord, OwedEffect, Snapshot
from envmgr.store.audit_rows import AuditRows
from envmgr.store.change_rows import SqliteChangeRows
from envmgr.store.codec import Codec, read_json, write_json
from envmgr.store.handoff_rows import HandoffRows
from envmgr.store.key_rows import KeyRows
from envmgr.store.lock_rows import SqliteLockRows
from envmgr.store.memory_rows import MemoryRows
from envmgr.store.session_rows import SessionRows
from envmgr.store.shrinking import Shrinking
from envmgr.store.task_rows import TaskRows

_STATE = Codec(AgentState)
_SPEC = Codec(AgentSpec)
_EFFECT = Codec(Effect)
_STEP = Codec(StepRecord)
_TOMBSTONE = Codec(Tombstone)
_SNAPSHOT = Codec(Snapshot)
_INCIDENT = Codec(Incident)

_AGENT = "SELECT state, spec, version, created_at FROM agent"
_EVENT = "SELECT seq, at, kind, agent, generation, cause, data FROM event"
# The newest one stays: the next number is counted from it.
_STALE = "FROM event WHERE at < ? AND seq <= (SELECT seq FROM event ORDER BY seq DESC LIMIT 1 OFFSET ?)"
_LEASE = "SELECT agent, service, name, port, block, held FROM lease"


# A spec is the largest value, seldom changes and is read with every look at an agent.
_spec = lru_cache(maxsize=256)(_SPEC.load)


class SqliteTransaction(Shrinking):
    """`envmgr.protocols.store.Transaction` on a connection in which the caller has begun a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self.tasks = TaskRows(connection)
        self.audit = AuditRows(connection)
        self.keys = KeyRows(connection)
        self.locks = SqliteLockRows(connection.execute)
        self.changes = SqliteChangeRows(connection.execute)
        self.handoffs = HandoffRows(connection.execute)
        self.sessions = SessionRows(connection.execute)
        self.memories = MemoryRows(connection.execute)

    def agents(self) -> Sequence[AgentRecord]:
        return [_agent(row) for row in self._execute(f"{_AGENT} ORDER BY created_at, rowid")]

    def agent(self, agent: AgentId) -> AgentRecord | None:
        row = self._execute(f"{_AGENT} WHERE id = ?", (agent,)).fetchone()
        return _agent(row) if row else None

    def insert_agent(self, record: AgentRecord) -> None:
        state = record.state
        row = (
            state.id,
            state.name,
            record.version,
            record.created_at,
            _STATE.dump(state),
            _SPEC.dump(record.spec),
        )
        try:
            self._execute(
                "INSERT INTO agent (id, name, version, created_at, state, spec) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
        except sqlite3.IntegrityError as error:
            raise _taken(state) from error

    def save_state(self, state: AgentState, *, expect: int) -> int:
        try:
            changed = self._execute(
                "UPDATE agent SET name = ?, state = ?, version = version + 1 WHERE id = ? AND version = ?",
                (state.name, _STATE.dump(state), state.id, expect),
            )
        except sqlite3.IntegrityError as error:
            raise _taken(state) from error
        if not changed.rowcount:
            raise StaleState(f"{state.name} was changed or removed meanwhile", hint="Try again.")
        return expect + 1

    def save_spec(self, agent: AgentId, spec: AgentSpec) -> None:
        self._execute("UPDATE agent SET spec = ? WHERE id = ?", (_SPEC.dump(spec), agent))

    def delete_agent(self, agent: AgentId) -> None:
        self._execute("DELETE FROM journal WHERE agent = ?", (agent,))
        self._execute("DELETE FROM lease WHERE agent = ?", (agent,))
        self._execute("DELETE FROM effect WHERE agent = ?", (agent,))
        self._execute("DELETE FROM agent WHERE id = ?", (agent,))
        self.changes.forget(agent)

    def append(self, event: NewEvent, *, at: float) -> int:
        added = self._execute(
            "INSERT INTO event (at, kind, agent, generation, cause, data) VALUES (?, ?, ?, ?, ?, ?)",
            (at, event.kind, event.agent, event.generation, event.cause, write_json(dict(event.data))),
        )
        return _new_id(added)

    def events(self, *, after: int = 0, agent: str = "", limit: int = 1000) -> Sequence[Event]:
        if agent:
            rows = self._execute(
                f"{_EVENT} WHERE agent = ? AND seq > ? ORDER BY seq LIMIT ?", (agent, after, limit)
            )
        else:
            rows = self._execute(f"{_EVENT} WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        return _events(rows)

    def last_events(self, *, agent: str, limit: int) -> Sequence[Event]:
        if agent:
            newest = self._execute(f"{_EVENT} WHERE agent = ? ORDER BY seq DESC LIMIT ?", (agent, limit))
        else:
            newest = self._execute(f"{_EVENT} ORDER BY seq DESC LIMIT ?", (limit,))
        return _events(newest)[::-1]

    def stale(self, *, before_at: float, keep: int) -> int:
        return int(self._execute(f"SELECT count(*) {_STALE}", (before_at, max(keep, 1))).fetchone()[0])

    def prune(self, *, before_at: float, keep: int, at_most: int | None = None) -> int:
        limit = -1 if at_most is None else at_most
        removed = self._execute(
            f"DELETE FROM event WHERE seq IN (SELECT seq {_STALE} ORDER BY seq LIMIT ?)",  # noqa: S608  our own words
            (before_at, max(keep, 1), limit),
        )
        return removed.rowcount

    def owe(self, agent: AgentId, effect: Effect, *, cause: str = "") -> int:
        row = (agent, _EFFECT.dump(effect), cause)
        return _new_id(self._execute("INSERT INTO effect (agent, effect, cause) VALUES (?, ?, ?)", row))

    def settle(self, effect: int) -> None:
        self._execute("DELETE FROM effect WHERE id = ?", (effect,))

    def owed(self) -> Sequence[OwedEffect]:
        return [
            OwedEffect(id=id_, agent=AgentId(agent), effect=_EFFECT.load(effect), cause=cause)
            for id_, agent, effect, cause in self._execute(
                "SELECT id, agent, effect, cause FROM effect ORDER BY id"
            )
        ]

    def journal(self, agent: AgentId, generation: int, record: StepRecord) -> None:
        self._execute(
            "INSERT INTO journal (agent, generation, step, position, record) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET position = excluded.position, record = excluded.record",
            (agent, generation, record.step, record.order, _STEP.dump(record)),
        )

    def trail(self, agent: AgentId, generation: int) -> Sequence[StepRecord]:
        rows = self._execute(
            "SELECT record FROM journal WHERE agent = ? AND generation = ? ORDER BY position",
            (agent, generation),
        )
        return [_STEP.load(record) for (record,) in rows]

    def leases(self, agent: AgentId | None = None) -> Sequence[PortLease]:
        if agent is None:
            rows = self._execute(f"{_LEASE} ORDER BY port, agent")
        else:
            rows = self._execute(f"{_LEASE} WHERE agent = ? ORDER BY port", (agent,))
        return [_lease(row) for row in rows]

    def save_leases(self, leases: Sequence[PortLease]) -> None:
        for lease in leases:
            self._refuse_if_held(lease)
        # Let go first, so that two services of one agent may swap their ports.
        self._executemany(
            "UPDATE lease SET held = 0 WHERE agent = ? AND service = ? AND name = ?",
            [(lease.agent, lease.service, lease.name) for lease in leases],
        )
        for lease in leases:
            self._save_lease(lease)

    def _refuse_if_held(self, lease: PortLease) -> None:
        holder = self._execute(
            "SELECT coalesce(agent.name, lease.agent), service FROM lease LEFT JOIN agent ON agent.id = lease.agent"
            " WHERE held = 1 AND port = ? AND lease.agent != ?",
            (lease.port, lease.agent),
        ).fetchone()
        if lease.held and holder:
            raise _port_held(lease.port, *holder)

    def _save_lease(self, lease: PortLease) -> None:
        try:
            self._execute(
                "INSERT INTO lease (agent, service, name, port, block, held) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (agent, service, name)"
                " DO UPDATE SET port = excluded.port, block = excluded.block, held = excluded.held",
                (lease.agent, lease.service, lease.name, lease.port, lease.block, int(lease.held)),
            )
        except sqlite3.IntegrityError as error:
            raise _port_held(lease.port, "the same agent", "another service") from error

    def release_ports(self, agent: AgentId, *, forget: bool = False) -> None:
        if forget:
            self._execute("DELETE FROM lease WHERE agent = ?", (agent,))
        else:
            self._execute("UPDATE lease SET held = 0 WHERE agent = ?", (agent,))

    def bury(self, tombstone: Tombstone) -> None:
        self._execute(
            "INSERT INTO tombstone (kind, name, record) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET record = excluded.record",
            (tombstone.kind, tombstone.name, _TOMBSTONE.dump(tombstone)),
        )

    def tombstones(self) -> Sequence[Tombstone]:
        rows = self._execute("SELECT record FROM tombstone ORDER BY kind, name")
        return [_TOMBSTONE.load(record) for (record,) in rows]

    def exhume(self, kind: str, name: str) -> None:
        self._execute("DELETE FROM tombstone WHERE kind = ? AND name = ?", (kind, name))

    def add_snapshot(self, snapshot: Snapshot) -> int:
        row = (_SNAPSHOT.dump(snapshot), int(snapshot.restored))
        return _new_id(self._execute("INSERT INTO snapshot (snapshot, restored) VALUES (?, ?)", row))

    def snapshots(self) -> Sequence[Snapshot]:
        return [
            replace(_SNAPSHOT.load(snapshot), id=id_, restored=bool(restored))
            for id_, snapshot, restored in self._execute(
                "SELECT id, snapshot, restored FROM snapshot ORDER BY id"
            )
        ]

    def mark_restored(self, snapshot: int) -> None:
        self._execute("UPDATE snapshot SET restored = 1 WHERE id = ?", (snapshot,))

    def replace_snapshot(self, snapshot: Snapshot) -> None:
        row = (_SNAPSHOT.dump(snapshot), snapshot.id)
        self._execute("UPDATE snapshot SET snapshot = ? WHERE id = ?", row)

    def delete_snapshot(self, snapshot: int) -> None:
        self._execute("DELETE FROM snapshot WHERE id = ?", (snapshot,))

    def add_incident(self, incident: Incident) -> int:
        row = (incident.agent, incident.closed_at is None, _seen_at(incident), _INCIDENT.dump(incident))
        return _new_id(
            self._execute("INSERT INTO incident (agent, is_open, seen_at, incident) VALUES (?, ?, ?, ?)", row)
        )

    def replace_incident(self, incident: Incident) -> None:
        row = (incident.closed_at is None, _seen_at(incident), _INCIDENT.dump(incident), incident.id)
        self._execute("UPDATE incident SET is_open = ?, seen_at = ?, incident = ? WHERE id = ?", row)

    def incident(self, incident: int) -> Incident | None:
        row = self._execute("SELECT id, incident FROM incident WHERE id = ?", (incident,)).fetchone()
        return _incident(row) if row else None

    def incidents(
        self, *, agent: str = "", open_only: bool = False, after_at: float = 0.0, limit: int = 1000
    ) -> Sequence[Incident]:
        rows = self._execute(
            "SELECT id, incident FROM incident"
            " WHERE seen_at >= ? AND (? = '' OR ? IN (agent, json_extract(incident, '$.name')))"
            " AND (NOT ? OR is_open) ORDER BY id DESC LIMIT ?",
            (after_at, agent, agent, open_only, limit),
        )
        return [_incident(row) for row in rows]

    def delete_incident(self, incident: int) -> None:
        self._execute("DELETE FROM incident WHERE id = ?", (incident,))

    def get(self, key: str) -> str | None:
        row: tuple[str] | None = self._execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(self, key: str, value: str) -> None:
        self._execute(
            "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def drop(self, key: str) -> None:
        self._execute("DELETE FROM setting WHERE key = ?", (key,))

    def under(self, prefix: str) -> Mapping[str, str]:
        rows = self._execute(
            "SELECT key, value FROM setting WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
        )
        return dict(rows)


def _agent(row: tuple[str, str, int, float]) -> AgentRecord:
    state, spec, version, created_at = row
    return AgentRecord(state=_STATE.load(state), spec=_spec(spec), version=version, created_at=created_at)


def _events(rows: Iterable[tuple[int, float, str, str, int, str, str]]) -> list[Event]:
    return [
        Event(
            seq=seq, at=at, kind=kind, agent=agent, generation=generation, cause=cause, data=read_json(data)
        )
        for seq, at, kind, agent, generation, cause, data in rows
    ]


def _incident(row: tuple[int, str]) -> Incident:
    id_, incident = row
    return replace(_INCIDENT.load(incident), id=id_)


def _seen_at(incident: Incident) -> float:
    return max(incident.opened_at, incident.seen_at)


def _lease(row: tuple[str, str, str, int, int, int]) -> PortLease:
    agent, service, name, port, block, held = row
    return PortLease(
        agent=AgentId(agent), service=service, name=name, port=port, block=block, held=bool(held)
    )


def _new_id(cursor: sqlite3.Cursor) -> int:
    # None only before any INSERT.
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _taken(state: AgentState) -> Conflict:
    return Conflict(
        f"there is an agent {state.name!r} already", hint="Choose another name, or remove that one."
    )


def _port_held(port: int, holder: str, service: str) -> Conflict:
    return Conflict(
        f"port {port} is held by {holder} ({service})",
        hint="Stop that agent, or ask for another port.",
        details={"port": port, "holder": holder},
    )
