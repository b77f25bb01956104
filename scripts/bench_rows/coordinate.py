"""Locks, the work queue, memory, the faces and the audit trail."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.bench_rows import locking
from scripts.bench_rows.rows import Row


def rows() -> Iterator[Row]:
    """One part after the other."""
    yield from locking.rows()
