"""What the end of one task means for those that wait for it, in SQL: all of them at once, for there may be very many."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence

from envmgr.model.task import TaskStatus
from envmgr.store.codec import write_json

_CHILD = "(SELECT child FROM task_link WHERE parent = ? AND kind = 'blocks' AND is_met = 0)"
_IS_WAITED_FOR = f"SELECT EXISTS {_CHILD}"
_COUNT_DOWN = f"UPDATE task SET unmet = unmet - 1 WHERE id IN {_CHILD}"  # noqa: S608 - as above
_FREED = f"SELECT id, run_at FROM task WHERE id IN {_CHILD} AND unmet = 0 AND status = 'blocked' ORDER BY id"  # noqa: S608
_MET = "UPDATE task_link SET is_met = 1 WHERE parent = ? AND kind = 'blocks' AND is_met = 0"
# Whoever waits for it, directly or not. A task number stands for itself, too, so that each step finds what came before.
_ALL_BEHIND = """
WITH RECURSIVE behind(id) AS (
    VALUES (?1) UNION
    SELECT c.id FROM behind b JOIN task_link l ON l.parent = b.id AND l.kind = 'blocks' {link} JOIN task c ON c.id = l.child
    WHERE {task}
)
"""
_CASCADE = f"""
{_ALL_BEHIND.format(link="AND l.is_met = 0", task="c.status = 'blocked'")}
UPDATE task SET status = 'cancelled', ended_at = ?2, cause = ?1, error_code = ?3, error_message = ?4
WHERE id IN (SELECT id FROM behind) AND id != ?1 RETURNING id
"""  # noqa: S608 - our own words
_BECAUSE_OF = f"""
{_ALL_BEHIND.format(link="", task="c.cause = ?1")}
SELECT id, unmet, run_at FROM task WHERE id IN (SELECT id FROM behind) AND id != ?1 ORDER BY id
"""  # noqa: S608 - our own words
_HANGING = """
SELECT c.id FROM task_link l JOIN task c ON c.id = l.child
WHERE l.parent = ? AND l.kind = 'blocks' AND l.is_met = 0 AND c.status IN ('blocked', 'cancelled') ORDER BY l.child LIMIT ?
"""
_REVIVE = """
UPDATE task SET status = ?1, due_at = CASE ?1 WHEN 'scheduled' THEN run_at END, failures = 0, lease_until = NULL,
    ended_at = NULL, cause = 0, error_code = '', error_message = ''
WHERE id IN (SELECT value FROM json_each(?2))
"""


class TaskTies:
    """Part of `task_rows.TaskRows`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._executemany = connection.executemany

    def meet(self, parent: int) -> Sequence[tuple[int, float | None]]:
        if not self._execute(_IS_WAITED_FOR, (parent,)).fetchone()[0]:
            return ()
        self._execute(_COUNT_DOWN, (parent,))
        freed = self._execute(_FREED, (parent,)).fetchall()
        self._execute(_MET, (parent,))
        return freed

    def wake(self, tasks: Collection[int]) -> None:
        self._executemany("UPDATE task SET status = 'ready' WHERE id = ?", [(task,) for task in tasks])

    def cancel_behind(self, task: int, *, code: str, words: str, at: float) -> Sequence[int]:
        return sorted(number for (number,) in self._execute(_CASCADE, (task, at, code, words)))

    def cancelled_behind(self, task: int) -> Sequence[tuple[int, int, float | None]]:
        return self._execute(_BECAUSE_OF, (task,)).fetchall()

    def waiting_for(self, task: int, *, limit: int) -> Sequence[int]:
        return [number for (number,) in self._execute(_HANGING, (task, limit))]

    def leave_untold(self, task: int) -> None:
        self._execute("UPDATE task SET untold = 1 WHERE id = ?", (task,))

    def tell(self, tasks: Collection[int]) -> None:
        self._executemany("UPDATE task SET untold = 0 WHERE id = ?", [(task,) for task in tasks])

    def revive(self, tasks: Collection[int], status: TaskStatus) -> None:
        self._execute(_REVIVE, (status, write_json(sorted(tasks))))
