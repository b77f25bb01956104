"""Fail a test that leaves processes behind, and end what it left."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from envmgr.testing.audit import Finding, audit
from tests.support.wait import eventually

_MARK = "ENVMGR_TEST_MARK"
# Python's own, started once per process and kept until it ends.
_SPARED = "multiprocessing.resource_tracker"


@contextmanager
def nothing_left(folder: Path, *, grace_s: float = 2.0) -> Iterator[None]:
    """Check on leaving that every process begun inside has ended.

    Seen are children, everything that inherited this test's mark in its environment, and whatever works in or serves
    a socket in `folder`. Processes begun by fixtures of a wider scope were there before and do not count.

    Raises:
        AssertionError: Names what was still there after `grace_s`. It has been killed.
    """
    mark = uuid.uuid4().hex
    outer = os.environ.get(_MARK)
    os.environ[_MARK] = mark
    before = set(psutil.Process().children(recursive=True))
    try:
        yield
    finally:
        del os.environ[_MARK]
        if outer is not None:
            os.environ[_MARK] = outer
    try:
        eventually(lambda: not _left(mark, before, folder), within_s=grace_s)
    except AssertionError:
        left = {process: _line(process) for process in _left(mark, before, folder)}
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        raise AssertionError(f"the test left behind: {list(left.values())}") from None


def living(folder: Path) -> list[Finding]:
    """The audit without the engine and what may stay on disk: sockets nobody serves and worktrees."""
    return [found for found in audit(folder, engine=False) if found.kind in {"process", "tmux", "listener"}]


def _left(mark: str, before: set[psutil.Process], folder: Path) -> list[psutil.Process]:
    pids = {int(found.what.split()[0]) for found in living(folder) if found.kind != "listener"}
    children = set(psutil.Process().children(recursive=True)) - before
    return [
        process
        for process in psutil.process_iter()
        if process not in before
        and (process in children or process.pid in pids or _environ(process).get(_MARK) == mark)
        and _SPARED not in _line(process)
    ]


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _line(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)
