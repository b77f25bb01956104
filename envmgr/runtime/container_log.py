"""Copy a container's output into the log file of its unit: complete, in order, and each line once.

The engine keeps its own copy, so nothing is lost while no daemon runs. Where we are is known from two things: a mark
(the time of the last line that was surely written, and the log's size then) and the log's present size. What the log grew by
since the mark is skipped in the engine's repetition of what came after it. So a daemon may be killed at any moment.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import blocking, tasks
from envmgr.errors import Conflict, EnvmgrError, NotFound
from envmgr.model.service import LogPolicy
from envmgr.protocols.engine import Engine
from envmgr.protocols.logs import LogWriter, OpenLog

log = logging.getLogger(__name__)

_MARK_EVERY_BYTES = 1 << 20
_WAITING_BYTES = 4 << 20
_LAST_WORDS_S = 3.0
_EARLIER_S = 0.00001
_RETRY_S, _CALM_S = 0.5, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far the output of a container was copied.

    Attributes:
        container: Its id; another container begins anew.
        launch: Of the launch that writes now.
        log_offset: Log's size when that launch began.
        since: Time of the last line that was written, as the engine stamps it.
        same: How many lines with exactly that time were written.
        offset: Log's size after them.
        base: Where the current file began then.
    """

    container: str = ""
    launch: int = 0
    log_offset: int = 0
    since: float = 0.0
    same: int = 0
    offset: int = 0
    base: int = 0


Line = tuple[float, int, bytes]
"""Time, the how-many-th line of exactly that time, and what it says."""


class ContainerLog:
    """The log of one unit; lives as long as the daemon follows the unit's container."""

    def __init__(self, path: Path, mark_file: Path, engine: Engine, open_log: OpenLog) -> None:
        self.path = path
        self._mark_file = mark_file
        self._engine = engine
        self._open_log = open_log
        self._writer: LogWriter | None = None
        self._mark = Mark()
        self._last = (0.0, 0)
        self._pending: list[Line] = []
        self._waiting = 0
        self._news = anyio.Event()
        self._taken = anyio.Event()
        self._over: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None
        self._lock = anyio.Lock()
        self._is_dirty = False

    @property
    def log_offset(self) -> int:
        """Where the present launch begins."""
        return self._mark.log_offset

    @property
    def base(self) -> int:
        """Where the current file begins."""
        return self._writer.base if self._writer else self._mark.base

    async def attend(self, group: TaskGroup, container: str, launch: int, *, policy: LogPolicy) -> None:
        """Copy what this launch writes, from where the last copy ended; harmless when it is being copied already."""
        async with self._lock:
            is_same = (self._mark.container, self._mark.launch) == (container, launch)
            if is_same and self._over is not None and not self._over.is_set():
                return
            await self.drained()
            await blocking.act("file", self._open, policy)
            if (self._mark.container, self._mark.launch) != (container, launch):
                await blocking.act("file", self._begin, container, launch)
            self._pending.clear()
            self._waiting = 0
            self._over, self._scope = anyio.Event(), anyio.CancelScope()
            tasks.start(group, "copying a log", self._copy, container, self._over, self._scope)

    async def drained(self) -> None:
        """Until the output of a container that has ended is in the file; not longer than its engine takes to tell it."""
        if self._over is not None:
            with anyio.move_on_after(_LAST_WORDS_S):
                await self._over.wait()
            if self._scope is not None:
                self._scope.cancel()
            await self._over.wait()  # its file is closed before the next copy opens it
            self._over = None

    # --- blocking parts --------------------------------------------------------------------------------------

    def _open(self, policy: LogPolicy) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._mark = _read(self._mark_file)
        self._last = (self._mark.since, self._mark.same)
        self._writer = self._open_log(self.path, policy, self._mark.base)

    def _begin(self, container: str, launch: int) -> None:
        assert self._writer is not None, "opened before"
        offset = self._writer.offset
        fresh = Mark(offset=offset) if container != self._mark.container else self._mark
        self._mark = replace(fresh, container=container, launch=launch, log_offset=offset)
        self._last = (self._mark.since, self._mark.same)
        self._note()

    def _note(self) -> None:
        """Write the mark, whole or not at all."""
        assert self._writer is not None, "opened before"
        self._mark = replace(self._mark, base=self._writer.base)
        self._mark_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._mark_file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self._mark)), encoding="utf-8")
        fresh.replace(self._mark_file)

    def _note_last(self) -> None:
        assert self._writer is not None, "opened before"
        since, same = self._last
        self._is_dirty = False
        self._mark = replace(self._mark, since=since, same=same, offset=self._writer.offset)
        self._note()

    def _write(self, lines: list[Line]) -> None:
        assert self._writer is not None, "opened before"
        self._is_dirty = True
        for at, same, data in lines:
            is_rotated = False
            for start in range(0, len(data), self._writer.chunk_bytes):
                is_rotated |= self._writer.write(data[start : start + self._writer.chunk_bytes])
            self._last = (at, same)
            if is_rotated or self._writer.offset - self._mark.offset >= _MARK_EVERY_BYTES:
                self._note_last()

    def _close(self) -> None:
        if self._writer is not None:
            if self._is_dirty:
                self._note_last()
            self._writer.close()
            self._writer = None

    # --- copying ---------------------------------------------------------------------------------------------

    async def _copy(self, container: str, over: anyio.Event, scope: anyio.CancelScope) -> None:
        """Read and write side by side: what comes while the file is written is written together, next."""
        try:
            with scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write_all)
                    await self._read_to_the_end(container)
                    group.cancel_scope.cancel()
        except* Exception:  # a task of the daemon owns its boundary
            log.exception("output not copied", extra={"container": container})
        finally:
            with anyio.CancelScope(shield=True):
                await blocking.act("file", self._close)
            over.set()

    async def _read_to_the_end(self, container: str) -> None:
        """Of the container, not of the connection: an engine that went away goes on where it was."""
        pause_s = _RETRY_S
        while True:
            try:
                await self._read_all(container)
                is_over = True
            except (NotFound, Conflict):  # removed, or about to be
                is_over = True
            except EnvmgrError as error:  # whoever follows the engine says so to people
                log.warning("output not copied for now", extra={"container": container, "why": error.message})
                is_over = False
            while self._pending:
                await self._taken.wait()
            if is_over:
                return
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, _CALM_S)

    async def _read_all(self, container: str) -> None:
        assert self._writer is not None, "opened before"
        mark, ahead = self._mark, self._writer.offset - self._mark.offset
        last, same = mark.since, 0
        # A little earlier, as a float does not hold the engine's nanoseconds; what is too early is left out below.
        async for at, line in self._engine.output(container, since=max(0.0, mark.since - _EARLIER_S)):
            last, same = at, same + 1 if at == last else 1
            if at < mark.since or (at == mark.since and same <= mark.same):
                continue
            if ahead >= len(line):  # written before this daemon came, after the mark
                ahead -= len(line)
                continue
            await self._put((at, same, line[ahead:] if ahead > 0 else line))
            ahead = 0

    async def _put(self, line: Line) -> None:
        self._pending.append(line)
        self._waiting += len(line[2])
        self._news.set()
        while self._waiting > _WAITING_BYTES:
            await self._taken.wait()

    async def _write_all(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            lines = list(self._pending)
            await blocking.act("file", self._write, lines)
            del self._pending[: len(lines)]
            self._waiting -= sum(len(data) for _, _, data in lines)
            self._taken.set()
            self._taken = anyio.Event()


def _read(path: Path) -> Mark:
    try:
        return Mark(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Mark()
