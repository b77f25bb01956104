"""Tasks, in SQL. See `envmgr.protocols.tasks.Tasks`."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from envmgr.model.task import Attempt, Dependents, LinkKind, NewTask, Task, TaskSpec, TaskStatus
from envmgr.protocols.tasks import Link, PastRequest
from envmgr.store.codec import Codec, write_json
from envmgr.store.task_ties import TaskTies

_SPEC = Codec(TaskSpec)
_ATTEMPT = Codec(Attempt)

_SAVED = (
    "status", "unmet", "rank", "due_at", "failures", "attempts", "lease", "lease_until", "holder", "holder_name",
    "session", "life", "cause", "error_code", "error_message", "claimed_at", "ended_at",
)  # fmt: skip
_FIXED = (
    "id", "repo", "type", "priority", "run_at", "deadline_at", "max_attempts", "dependents", "has_locks", "submitted_at",
    "submitted_by",
)  # fmt: skip
_COLUMNS = ", ".join(f"t.{name}" for name in (*_FIXED, *_SAVED))
_TASK = f"SELECT {_COLUMNS} FROM task t"  # noqa: S608 - names of columns
_SAVE = f"UPDATE task SET {', '.join(f'{name} = ?' for name in _SAVED)} WHERE id = ?"  # noqa: S608 - names of columns
_ADD = """
INSERT INTO task (repo, lane, type, priority, status, unmet, rank, run_at, due_at, deadline_at, max_attempts,
                  dependents, has_locks, submitted_at, submitted_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LANE = "SELECT id FROM task_lane WHERE repo = ? AND type = ? AND capabilities = ?"
_NEW_LANE = "INSERT INTO task_lane (repo, type, capabilities) VALUES (?, ?, ?) RETURNING id"
_FITTING = """
FROM task_lane l WHERE l.repo = ?1
AND (?3 = '[]' OR l.type IN (SELECT value FROM json_each(?3)))
AND (l.capabilities = '[]' OR NOT EXISTS (
    SELECT 1 FROM json_each(l.capabilities) WHERE value NOT IN (SELECT value FROM json_each(?2))
))
"""
_LANES = f"SELECT l.id {_FITTING}"
# The head of each fitting lane, and the best of them; the cost does not depend on how many tasks there are.
_NEXT = f"""
SELECT {_COLUMNS} FROM (
    SELECT (SELECT h.id FROM task h WHERE h.lane = l.id AND h.status = 'ready' ORDER BY h.rank, h.id LIMIT 1) AS head
    {_FITTING}
) JOIN task t ON t.id = head ORDER BY t.rank, t.id LIMIT 1
"""  # noqa: S608 - names of columns
_HEAD = f"{_TASK} WHERE t.lane = ? AND t.status = 'ready' AND (t.rank, t.id) > (?, ?) ORDER BY t.rank, t.id"
_FIRST = (float("-inf"), 0)
_PARENTS = f"""
SELECT l.kind, l.is_met, {_COLUMNS} FROM task_link l JOIN task t ON t.id = l.parent WHERE l.child = ? ORDER BY t.id
"""  # noqa: S608 - names of columns
_CHILDREN = f"""
SELECT {_COLUMNS} FROM task_link l JOIN task t ON t.id = l.child
WHERE l.parent = ? AND l.kind = 'blocks' ORDER BY t.id LIMIT ?
"""  # noqa: S608 - names of columns
_WAITING = "t.status IN ('blocked', 'scheduled', 'ready')"
_ANY_DUE = """
SELECT EXISTS (SELECT 1 FROM task WHERE due_at <= ?1) OR EXISTS (SELECT 1 FROM task WHERE lease_until <= ?1)
OR EXISTS (SELECT 1 FROM task WHERE deadline_at <= ?1 AND status IN ('blocked', 'scheduled', 'ready'))
"""
_PRUNED = """
SELECT t.id FROM task t WHERE t.ended_at < ?
AND NOT EXISTS (SELECT 1 FROM task_link l JOIN task c ON c.id = l.child WHERE l.parent = t.id AND c.ended_at IS NULL)
LIMIT ?
"""

_PRUNE = (
    "DELETE FROM task WHERE id = ?",
    "DELETE FROM task_spec WHERE task = ?",
    "DELETE FROM task_attempt WHERE task = ?",
    "DELETE FROM task_link WHERE child = ?",
    "DELETE FROM task_link WHERE parent = ?",
)
_EMPTY_LANES = "DELETE FROM task_lane WHERE id NOT IN (SELECT DISTINCT lane FROM task)"

# Any: rows come from SQLite.
Row = tuple[Any, ...]


class TaskRows(TaskTies):
    """Made once per connection; the caller has begun a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)

    def add(self, task: NewTask) -> int:
        spec = task.spec
        cursor = self._execute(
            _ADD,
            (
                task.repo, self._lane(task.repo, spec), spec.type, spec.priority, task.status, task.unmet, task.rank,
                task.run_at, task.due_at, task.deadline_at, spec.max_attempts, spec.dependents, bool(spec.locks),
                task.submitted_at, task.submitted_by,
            ),
        )  # fmt: skip
        number = int(cursor.lastrowid or 0)
        self._execute("INSERT INTO task_spec (task, spec) VALUES (?, ?)", (number, _SPEC.dump(spec)))
        return number

    def _lane(self, repo: str, spec: TaskSpec) -> int:
        key = (repo, spec.type, write_json(sorted(set(spec.capabilities))))
        row = self._execute(_LANE, key).fetchone() or self._execute(_NEW_LANE, key).fetchone()
        return int(row[0])

    def link(self, links: Sequence[Link]) -> None:
        self._executemany(
            "INSERT OR IGNORE INTO task_link (child, kind, parent, is_met) VALUES (?, ?, ?, ?)",
            [(link.child, link.kind, link.parent, link.is_met) for link in links],
        )

    def get(self, task: int) -> Task | None:
        row = self._execute(f"{_TASK} WHERE t.id = ?", (task,)).fetchone()
        return _task(row) if row else None

    def spec(self, task: int) -> TaskSpec:
        row = self._execute("SELECT spec FROM task_spec WHERE task = ?", (task,)).fetchone()
        return _SPEC.load(row[0])

    def save(self, task: Task) -> None:
        self._execute(_SAVE, (*(getattr(task, name) for name in _SAVED), task.id))

    def next(self, repo: str, *, capabilities: Collection[str], types: Collection[str]) -> Task | None:
        row = self._execute(_NEXT, _wanted(repo, capabilities, types)).fetchone()
        return _task(row) if row else None

    def ready(
        self,
        repo: str,
        *,
        capabilities: Collection[str],
        types: Collection[str],
        after: tuple[float, int] | None = None,
    ) -> Iterator[Task]:
        lanes = [lane for (lane,) in self._execute(_LANES, _wanted(repo, capabilities, types))]
        heads = (map(_task, self._execute(_HEAD, (lane, *(after or _FIRST)))) for lane in lanes)
        return heapq.merge(*heads, key=lambda task: (task.rank, task.id))

    def parents(self, task: int) -> Sequence[tuple[Task, Link]]:
        return [
            (found, Link(child=task, parent=found.id, kind=LinkKind(kind), is_met=bool(is_met)))
            for kind, is_met, found in (
                (row[0], row[1], _task(row[2:])) for row in self._execute(_PARENTS, (task,))
            )
        ]

    def children(self, task: int, *, limit: int = -1) -> Sequence[Task]:
        return [_task(row) for row in self._execute(_CHILDREN, (task, limit))]

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        return self._tasks("WHERE t.due_at <= ? ORDER BY t.due_at LIMIT ?", (now, limit))

    def overdue(self, now: float, *, limit: int) -> Sequence[Task]:
        return self._tasks("WHERE t.lease_until <= ? ORDER BY t.lease_until LIMIT ?", (now, limit))

    def late(self, now: float, *, limit: int) -> Sequence[Task]:
        return self._tasks(
            f"WHERE t.deadline_at <= ? AND {_WAITING} ORDER BY t.deadline_at LIMIT ?", (now, limit)
        )

    def is_any_due(self, now: float) -> bool:
        return bool(self._execute(_ANY_DUE, (now,)).fetchone()[0])

    def leased(self, *, holder: str = "") -> Sequence[Task]:
        # Not `IS NOT NULL`, for which SQLite would rather read the whole table in the order of its numbers.
        found = self._tasks("WHERE t.lease_until > 0 AND (t.holder = ?1 OR ?1 = '')", (holder,))
        return sorted(found, key=lambda task: task.id)

    def untold(self, holder: str) -> Sequence[Task]:
        return self._tasks("WHERE t.untold = 1 AND t.holder = ? ORDER BY t.id", (holder,))

    def page(
        self,
        repo: str,
        *,
        statuses: Collection[TaskStatus] = (),
        kind: str = "",
        holder: str = "",
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[Task]:
        # One look per status: an index has each of them in order, and all of them together in none.
        looks: list[tuple[str, tuple[str, ...]]]
        looks = [("t.repo = ? AND t.status = ?", (repo, status)) for status in statuses]
        found: list[Task] = []
        for where, values in looks or [("t.repo = ?", (repo,))]:
            words = [
                where,
                *(f"t.{name} = ?" for name, value in (("type", kind), ("holder", holder)) if value),
            ]
            words += ["t.id < ?"] if after else []
            asked = (
                *values,
                *(value for value in (kind, holder) if value),
                *((after,) if after else ()),
                limit,
            )
            found += self._tasks(f"WHERE {' AND '.join(words)} ORDER BY t.id DESC LIMIT ?", asked)
        return sorted(found, key=lambda task: -task.id)[:limit]

    def counts(self, repo: str) -> Mapping[TaskStatus, int]:
        rows = self._execute("SELECT status, count(*) FROM task WHERE repo = ? GROUP BY status", (repo,))
        return {TaskStatus(status): count for status, count in rows}

    def links(self, tasks: Collection[int]) -> Sequence[Link]:
        among = write_json(sorted(tasks))
        rows = self._execute(
            "SELECT child, parent, kind, is_met FROM task_link WHERE child IN (SELECT value FROM json_each(?1))"
            " AND parent IN (SELECT value FROM json_each(?1)) ORDER BY parent, child",
            (among,),
        )
        return [
            Link(child=child, parent=parent, kind=LinkKind(kind), is_met=bool(is_met))
            for child, parent, kind, is_met in rows
        ]

    def begin(self, attempt: Attempt) -> int:
        cursor = self._execute(
            "INSERT INTO task_attempt (task, attempt) VALUES (?, ?)", (attempt.task, _ATTEMPT.dump(attempt))
        )
        return int(cursor.lastrowid or 0)

    def attempt(self, lease: int) -> Attempt | None:
        row = self._execute("SELECT lease, attempt FROM task_attempt WHERE lease = ?", (lease,)).fetchone()
        return _attempt(row) if row else None

    def attempts(self, task: int) -> Sequence[Attempt]:
        rows = self._execute("SELECT lease, attempt FROM task_attempt WHERE task = ? ORDER BY lease", (task,))
        return [_attempt(row) for row in rows]

    def save_attempt(self, attempt: Attempt) -> None:
        self._execute(
            "UPDATE task_attempt SET attempt = ? WHERE lease = ?", (_ATTEMPT.dump(attempt), attempt.lease)
        )

    def past(self, repo: str, by: str, key: str) -> PastRequest | None:
        row = self._execute(
            "SELECT digest, answer FROM task_request WHERE repo = ? AND by = ? AND key = ?", (repo, by, key)
        ).fetchone()
        return PastRequest(digest=row[0], answer=row[1]) if row else None

    def remember(self, repo: str, by: str, key: str, request: PastRequest, *, at: float) -> None:
        self._execute(
            "INSERT INTO task_request (repo, by, key, digest, answer, at) VALUES (?, ?, ?, ?, ?, ?)",
            (repo, by, key, request.digest, request.answer, at),
        )

    def forget(self, *, before_at: float, limit: int) -> int:
        return self._execute(
            "DELETE FROM task_request WHERE (repo, by, key) IN"
            " (SELECT repo, by, key FROM task_request WHERE at < ? LIMIT ?)",
            (before_at, limit),
        ).rowcount

    def prune(self, *, before_at: float, limit: int) -> int:
        old = [(task,) for (task,) in self._execute(_PRUNED, (before_at, limit))]
        for statement in _PRUNE:
            self._executemany(statement, old)
        if 0 < len(old) < limit:
            self._execute(_EMPTY_LANES)
        return len(old)

    def _tasks(self, where: str, values: Sequence[object]) -> Sequence[Task]:
        return [_task(row) for row in self._execute(f"{_TASK} {where}", values)]


def _wanted(repo: str, capabilities: Collection[str], types: Collection[str]) -> tuple[str, str, str]:
    return repo, write_json(sorted(capabilities)), write_json(sorted(types))


def _task(row: Row) -> Task:
    fixed, saved = row[: len(_FIXED)], row[len(_FIXED) :]
    (number, repo, kind, priority, run_at, deadline_at, max_attempts, dependents, has_locks, at, by) = fixed
    (status, unmet, rank, due_at, failures, attempts, lease, lease_until, *rest) = saved
    (holder, holder_name, session, life, cause, error_code, error_message, claimed_at, ended_at) = rest
    return Task(
        id=number, repo=repo, type=kind, priority=priority, status=TaskStatus(status), unmet=unmet, rank=rank,
        run_at=run_at, due_at=due_at, deadline_at=deadline_at, failures=failures, attempts=attempts, max_attempts=max_attempts,
        dependents=Dependents(dependents), has_locks=bool(has_locks), lease=lease, lease_until=lease_until,
        holder=holder, holder_name=holder_name, session=session, life=life, cause=cause, error_code=error_code,
        error_message=error_message, submitted_at=at, submitted_by=by, claimed_at=claimed_at, ended_at=ended_at,
    )  # fmt: skip


def _attempt(row: Row) -> Attempt:
    return _ATTEMPT.load(row[1], lease=row[0])
