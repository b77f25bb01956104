"""Locks, the work queue, memory, the faces and the audit trail."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.bench_rows import auditing, faces, locking, queueing, recalling
from scripts.bench_rows.rows import Row


def rows() -> Iterator[Row]:
    """One part after the other."""
    yield from locking.rows()
    yield from queueing.rows()
    yield from recalling.rows()
    yield from faces.rows()
    yield from auditing.rows()
