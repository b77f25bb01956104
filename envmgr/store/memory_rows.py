"""Memories in SQL. The text is in an FTS5 table beside them, by the same id."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from envmgr.core.likeness import fingerprint
from envmgr.core.recalling import DAY_S, Terms
from envmgr.core.words import words
from envmgr.model.memory import Memory, MemoryFilter
from envmgr.store.codec import Codec

_MEMORY = Codec(Memory)
_COLUMNS = "id, used_at, superseded_by, memory"
# Of summary, body (lessons and details), tags and paths.
_RANK = "bm25(memory_text, 1.0, 0.5, 1.2, 1.5)"
_MOST_ROWS = 3000
"""Rows that one search ranks at most: the newest."""

Execute = Callable[..., sqlite3.Cursor]


class MemoryRows:
    """`envmgr.protocols.memories.Memories` on a connection in which a transaction has begun."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def add(self, memory: Memory) -> int:
        row = (
            memory.repo, memory.agent, memory.event_type, memory.thread, memory.at, memory.used_at, memory.superseded_by,
            _mark(memory), _MEMORY.dump(memory),
        )  # fmt: skip
        number = self._execute(
            "INSERT INTO memory (repo, agent, event_type, thread, at, used_at, superseded_by, fingerprint, memory)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        ).lastrowid
        assert number is not None, "an insert has one"
        body = "\n".join((*memory.lessons, memory.details))
        texts = (memory.summary, body, "\n".join(memory.tags), "\n".join(memory.files))
        self._execute(
            "INSERT INTO memory_text (rowid, summary, body, tags, paths) VALUES (?, ?, ?, ?, ?)",
            (number, *(" ".join(words(text)) for text in texts)),
        )
        for tag in set(memory.tags):
            self._execute("INSERT INTO memory_tag (memory, tag) VALUES (?, ?)", (number, tag))
        for path in set(memory.files):
            self._execute("INSERT INTO memory_file (memory, path) VALUES (?, ?)", (number, path))
        return number

    def get(self, memory: int) -> Memory | None:
        return self.many([memory]).get(memory)

    def many(self, memories: Collection[int]) -> Mapping[int, Memory]:
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM memory WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608  our own words
            (_ids(memories),),
        )
        return {memory.id: memory for memory in map(_memory, rows)}

    def same(self, memory: Memory, *, since_at: float) -> int:
        row = self._execute(
            "SELECT id FROM memory WHERE repo = ? AND fingerprint = ? AND superseded_by = 0 AND max(at, used_at) >= ?"
            " ORDER BY id DESC LIMIT 1",
            (memory.repo, _mark(memory), since_at),
        ).fetchone()
        return int(row[0]) if row else 0

    def touch(self, memories: Collection[int], *, at: float) -> None:
        self._execute(
            "UPDATE memory SET used_at = ? WHERE id IN (SELECT value FROM json_each(?))", (at, _ids(memories))
        )

    def supersede(self, memory: int, *, by: int) -> None:
        self._execute("UPDATE memory SET superseded_by = ? WHERE id = ?", (by, memory))

    def contradict(self, one: int, other: int) -> None:
        for pair in ((one, other), (other, one)):
            self._execute("INSERT OR IGNORE INTO memory_conflict (memory, other) VALUES (?, ?)", pair)

    def contradictions(self, memories: Collection[int]) -> Mapping[int, Sequence[int]]:
        rows = self._execute(
            "SELECT memory, other FROM memory_conflict WHERE memory IN (SELECT value FROM json_each(?)) ORDER BY 1, 2",
            (_ids(memories),),
        )
        return _grouped(rows)

    def delete(self, memory: int) -> None:
        self._execute("DELETE FROM memory WHERE id = ?", (memory,))
        self._execute("DELETE FROM memory_text WHERE rowid = ?", (memory,))
        self._execute("DELETE FROM memory_tag WHERE memory = ?", (memory,))
        self._execute("DELETE FROM memory_file WHERE memory = ?", (memory,))
        self._execute("DELETE FROM memory_vector WHERE memory = ?", (memory,))
        for other in self.contradictions([memory]).get(memory, ()):
            self._execute("DELETE FROM memory_conflict WHERE memory = ? AND other = ?", (other, memory))
        self._execute("DELETE FROM memory_conflict WHERE memory = ?", (memory,))
        self._execute("UPDATE memory SET superseded_by = 0 WHERE superseded_by = ?", (memory,))

    # --- finding ---------------------------------------------------------------------------------------------

    def newest(self, which: MemoryFilter, *, limit: int) -> Sequence[Memory]:
        where, values = _where(which)
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM memory m WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608  our own words
            (*values, limit),
        )
        return [_memory(row) for row in rows]

    def count(self, repo: str) -> int:
        return int(self._execute("SELECT count(*) FROM memory WHERE repo = ?", (repo,)).fetchone()[0])

    def frequencies(self, words: Collection[str]) -> Mapping[str, int]:
        found = {}
        for word in words:
            row = self._execute("SELECT doc FROM memory_word WHERE term = ?", (word,)).fetchone()
            found[word] = int(row[0]) if row else 0
        return found

    def search(self, terms: Terms, which: MemoryFilter, *, limit: int) -> Mapping[int, float]:
        if not terms.leads:
            return {}
        where, values = _where(which)
        rows = self._execute(
            "SELECT id, relevance FROM ("  # noqa: S608  our own words; what others wrote is bound
            f" SELECT m.id AS id, -{_RANK} AS relevance FROM memory_text CROSS JOIN memory m ON m.id = memory_text.rowid"
            f" WHERE memory_text MATCH ? AND {where} ORDER BY memory_text.rowid DESC LIMIT {_MOST_ROWS}"
            ") ORDER BY relevance DESC LIMIT ?",
            (_match(terms), *values, limit),
        )
        return {int(number): float(relevance) for number, relevance in rows}

    def neighbours(self, memories: Collection[int]) -> Mapping[int, Sequence[int]]:
        near = "AND abs(n.at - m.at) <= ?"
        rows = self._execute(
            "SELECT m.id, n.id FROM memory m JOIN memory n ON n.repo = m.repo AND n.thread = m.thread AND n.thread != ''"  # noqa: S608
            " AND n.id IN ("
            " (SELECT max(id) FROM memory b WHERE b.repo = m.repo AND b.thread = m.thread AND b.thread != '' AND b.id < m.id),"
            " (SELECT min(id) FROM memory a WHERE a.repo = m.repo AND a.thread = m.thread AND a.thread != '' AND a.id > m.id))"
            f" {near} WHERE m.id IN (SELECT value FROM json_each(?)) AND m.thread != '' AND n.superseded_by = 0",
            (DAY_S, _ids(memories)),
        )
        return _grouped(rows)

    # --- vectors ---------------------------------------------------------------------------------------------

    def save_vector(self, memory: int, vector: bytes, *, model: str) -> None:
        self._execute(
            "INSERT INTO memory_vector (memory, model, vector) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET model = excluded.model, vector = excluded.vector",
            (memory, model, vector),
        )

    def vectors(self, memories: Collection[int], *, model: str) -> Mapping[int, bytes]:
        rows = self._execute(
            "SELECT memory, vector FROM memory_vector WHERE model = ? AND memory IN (SELECT value FROM json_each(?))",
            (model, _ids(memories)),
        )
        return dict(rows)


def _mark(memory: Memory) -> str:
    """Equal for memories that say the same, but for case, spaces and punctuation."""
    return fingerprint(memory.event_type, memory.summary, memory.details, *memory.lessons, "", *memory.files)


def _match(terms: Terms) -> str:
    """A question that FTS5 understands; words are of letters and digits only, so quoting them is enough."""
    leads = " OR ".join(f'"{word}"' for word in terms.leads)
    if not terms.others:
        return leads
    others = " OR ".join(f'"{word}"' for word in terms.others)
    # Matches what `leads` does, and lets the others count.
    return f"({leads}) OR (({leads}) AND ({others}))"


def _where(which: MemoryFilter) -> tuple[str, list[object]]:
    parts, values = ["m.repo = ?"], list[object]([which.repo])
    if not which.has_superseded:
        parts.append("m.superseded_by = 0")
    if which.agent:
        parts.append("m.agent = ?")
        values.append(which.agent)
    if which.since_at:
        parts.append("m.at >= ?")
        values.append(which.since_at)
    if which.event_types:
        parts.append("m.event_type IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(which.event_types))
    if which.tags:
        parts.append(
            "EXISTS (SELECT 1 FROM memory_tag t WHERE t.memory = m.id AND t.tag IN (SELECT value FROM json_each(?)))"
        )
        values.append(json.dumps(which.tags))
    if which.paths:
        # `0` is the character after `/`.
        parts.append(
            "EXISTS (SELECT 1 FROM memory_file f, json_each(?) p WHERE f.memory = m.id"
            " AND (f.path = p.value OR (f.path > p.value || '/' AND f.path < p.value || '0')))"
        )
        values.append(json.dumps(which.paths))
    return " AND ".join(parts), values


def _memory(row: tuple[int, float, int, str]) -> Memory:
    number, used_at, superseded_by, text = row
    return replace(_MEMORY.load(text), id=number, used_at=used_at, superseded_by=superseded_by)


def _ids(memories: Collection[int]) -> str:
    return json.dumps(list(memories))


def _grouped(rows: Iterable[tuple[int, int]]) -> Mapping[int, Sequence[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for memory, other in rows:
        found[memory].append(other)
    return dict(found)
