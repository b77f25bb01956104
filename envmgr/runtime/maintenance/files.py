"""Logs are rotated where their writers do not do it, old ones go, and so does what cut-off writes have left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from envmgr.aio import blocking
from envmgr.runtime.maintenance.task import Done, Order

_STANDARD = (1, 2)
_HALF_WRITTEN = (".part", ".new", ".tmp")


class Logs:
    """Services and hooks rotate their own logs; the daemon's and the keepers' grow until somebody rotates them."""

    name, says = "logs", "rotate the logs of the daemon and of keepers; delete rotated logs that are old"

    async def do(self, order: Order) -> Done:
        state, limits = order.supervisor.layout.state_dir, order.limits
        before_at = order.before(limits.logs_days)

        def work() -> Done:
            done = Done()
            for log in (state / "daemon.log", *state.glob("agents/*/keeper.log")):
                done += _rotate(log, limits.log_bytes, limits.logs_keep, is_dry=order.is_dry)
            rotated = (*state.glob("agents/*/logs/*.log.[0-9]*"), *state.glob("*.log.[0-9]*"))
            for log in rotated:
                done += _delete_if(log, before_at, is_dry=order.is_dry)
            return done

        return await blocking.act("file", work)


def _rotate(path: Path, max_bytes: int, keep: int, *, is_dry: bool) -> Done:
    """`path` becomes `path.1`, and so on; the oldest goes."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_size <= max_bytes:
            return Done()
        names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, keep + 1))]
        freed = names[-1].lstat().st_size if names[-1].exists() else 0
        if not is_dry:
            _move(path, names)
        return Done(count=1, bytes=freed)
    return Done()


def _move(path: Path, names: list[Path]) -> None:
    """Of a log that this process writes its streams go on in the new file, and no line is lost.

    A keeper, which keeps its own file open, is given a copy of it instead.
    """
    ours = [fd for fd in _STANDARD if _is_open(fd, path)]
    for old, new in reversed(list(pairwise(names[1:]))):
        with contextlib.suppress(FileNotFoundError):
            old.replace(new)
    if path.name == "keeper.log":
        names[1].write_bytes(path.read_bytes())
        os.truncate(path, 0)
        return
    path.replace(names[1])
    fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for fd in ours:
        os.dup2(fresh, fd)
    os.close(fresh)


def _is_open(fd: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.sameopenfile(fd, fd) and os.path.samestat(os.fstat(fd), path.stat())
    return False


def _delete_if(path: Path, before_at: float, *, is_dry: bool) -> Done:
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if found.st_mtime < before_at:
            if not is_dry:
                path.unlink()
            return Done(count=1, bytes=found.st_size)
    return Done()


class Temp:
    """What a write that was cut off has left in the state folder, and empty folders of repositories without agents."""

    name, says = "temp", "delete half-written files and empty folders"

    async def do(self, order: Order) -> Done:
        layout, before_at = order.supervisor.layout, order.before(order.limits.temp_days)

        def work() -> Done:
            done = Done()
            for path in _half_written(layout.state_dir, layout.worktree_root):
                done += _delete_if(path, before_at, is_dry=order.is_dry)
            for folder in layout.worktree_root.iterdir() if layout.worktree_root.is_dir() else ():
                done += _delete_if_empty(folder, before_at, is_dry=order.is_dry)
            return done

        return await blocking.act("file", work)


def _half_written(state: Path, worktrees: Path) -> Iterator[Path]:
    """Never below a worktree: what lies there is an agent's."""
    for place, folders, names in os.walk(state):
        folders[:] = [name for name in folders if Path(place) / name != worktrees and name != "tmp"]
        yield from (Path(place) / name for name in names if name.endswith(_HALF_WRITTEN))


def _delete_if_empty(folder: Path, before_at: float, *, is_dry: bool) -> Done:
    if (
        not folder.is_dir()
        or folder.is_symlink()
        or folder.lstat().st_mtime >= before_at
        or any(folder.iterdir())
    ):
        return Done()
    if not is_dry:
        with contextlib.suppress(OSError):  # somebody has just put something there
            folder.rmdir()
    return Done(count=1)
