"""Processes of this host, from /proc: which belong to an agent, and their end."""

from __future__ import annotations

import contextlib
import functools
import os
import signal as signals
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import anyio

from envmgr.aio import blocking
from envmgr.drivers import marked, proc, usage
from envmgr.drivers.ending import Ending, boot_id, identity, is_still
from envmgr.errors import Unobservable
from envmgr.model.observe import Absent, Present, ProcessIdentity, Seen, Unknown
from envmgr.protocols.processes import Marked, Marks, Member, Usage

_SHOWN_CHARS = 80
_LOOK_S = 5.0
_LOOK_AGAIN_S = 0.2
_SETTLE_S = 0.005
_KILL_S = 0.6  # three looks 200 ms apart


class Listeners(Protocol):
    """The part of `HostSockets` that gives a stray its second proof."""

    def listeners(self, ports: Sequence[int]) -> Mapping[int, Seen[ProcessIdentity]]:
        """Who listens on each of these ports."""


class ProcProcesses:
    """Processes as Linux shows them in /proc."""

    def __init__(self, sockets: Listeners) -> None:
        self._sockets = sockets

    def identify(self, pid: int) -> ProcessIdentity | None:
        """See `Processes.identify`."""
        row = proc.row(pid)
        return identity(row) if row is not None and row.is_alive else None

    def assistant_behind(self, pid: int, panes: Mapping[int, str], *, instance: str) -> str:
        """See `Processes.assistant_behind`."""
        return marked.assistant_behind(pid, panes, instance=instance)

    def is_suspended(self, pid: int) -> bool:
        """See `Processes.is_suspended`."""
        row = proc.row(pid)
        return row is not None and row.state in "Tt"

    def command(self, pid: int) -> str:
        """See `Processes.command`."""
        row = proc.row(pid)
        return _command(row)[:_SHOWN_CHARS] if row is not None else ""

    def belongs(self, process: ProcessIdentity, marks: Marks) -> bool:
        """See `Processes.belongs`: the rule of `members`, read upwards from one process."""
        if not is_still(proc.row(process.pid), process):
            return False
        listening = functools.cache(functools.partial(self._listening, marks.ports))
        line = _upwards(process.pid)
        seeds, orphaned = _roots(_lookup(root.pid for root in marks.roots), marks.roots)
        return any(
            row.pid in seeds or _proof(row, marks, is_orphan=row.session in orphaned, listening=listening)
            for row in line
        )

    async def members(self, marks: Marks) -> Seen[Sequence[Member]]:
        """See `Processes.members`. Reads the whole process table once, in a thread."""
        try:
            found = await blocking.look("proc", _LOOK_S, self._members, marks)
        except (OSError, Unobservable) as error:
            return Unknown(f"cannot read the process table: {error}")
        return Present(found) if found else Absent()

    async def marked(self) -> Seen[Sequence[Marked]]:
        """See `Processes.marked`."""
        try:
            found = await blocking.look("proc", _LOOK_S, marked.marked)
        except (OSError, Unobservable) as error:
            return Unknown(f"cannot read the process table: {error}")
        return Present(found) if found else Absent()

    async def end_these(self, *who: ProcessIdentity, grace_s: float = 10.0) -> Sequence[ProcessIdentity]:
        """See `Processes.end_these`."""
        with Ending() as ending:
            for number, within_s in ((signals.SIGTERM, grace_s), (signals.SIGKILL, _KILL_S)):
                ending.members = await blocking.look("proc", _LOOK_S, _living, who)
                await blocking.act("proc", ending.tell, number)
                await ending.wait(time.monotonic() + within_s)
            return [one.identity for one in await blocking.look("proc", _LOOK_S, _living, who)]

    async def usage(self, sets: Mapping[str, Marks]) -> Mapping[str, Usage]:
        """See `Processes.usage`."""
        return await blocking.look("proc", _LOOK_S, usage.measure, sets)

    async def memory(self, pids: Sequence[int]) -> int:
        """See `Processes.memory`."""
        return await blocking.look("proc", _LOOK_S, usage.exact, pids)

    async def open_files(self, pids: Sequence[int]) -> int:
        """See `Processes.open_files`."""
        return await blocking.look("proc", _LOOK_S, usage.open_files, pids)

    async def end(
        self, marks: Marks, *, signal: str = "SIGTERM", hang_up: bool = False, grace_s: float = 10.0
    ) -> Sequence[Member]:
        """See `Processes.end`.

        Raises:
            Unobservable: The process table could not be read; what was found before has been signalled.
        """
        with Ending(hangs_up=hang_up) as ending:
            await self._until_gone(ending, marks, signals.Signals[signal], grace_s)
            if ending.members:
                await self._until_gone(ending, marks, signals.SIGKILL, _KILL_S)
            return ending.members

    async def _until_gone(self, ending: Ending, marks: Marks, number: int, within_s: float) -> None:
        """Look, signal who has not been, wait; until nobody is left or the time is over."""
        deadline = time.monotonic() + within_s
        while True:
            # What was once found is ours for good, also when the parent that proved it has ended.
            known = replace(marks, roots=(*marks.roots, *ending.known))
            ending.members = await self._certain(known)
            if not ending.members:
                return
            await blocking.act("proc", ending.tell, number)
            if time.monotonic() >= deadline:
                return
            await ending.wait(min(deadline, time.monotonic() + _LOOK_AGAIN_S))

    async def _certain(self, marks: Marks) -> Sequence[Member]:
        if found := await self._present(marks):
            return found
        # One look can miss a child forked while it reads, or one whose environment is empty during its exec.
        await anyio.sleep(_SETTLE_S)
        return await self._present(marks)

    async def _present(self, marks: Marks) -> Sequence[Member]:
        match await self.members(marks):
            case Present(found):
                return found
            case Absent():
                return ()
            case Unknown(reason):
                raise Unobservable(reason, hint="Run `envmgr doctor`.")

    def _members(self, marks: Marks) -> tuple[Member, ...]:
        table = proc.table()
        outside = proc.ancestry(table, os.getpid())
        rows = {pid: row for pid, row in table.items() if pid not in outside}
        seeds, orphaned = _roots(rows, marks.roots)
        ours = proc.kin(rows, seeds)
        listening = functools.cache(functools.partial(self._listening, marks.ports))
        reapers = outside - {os.getpid()}
        strays = {
            row.pid: proof
            for row in rows.values()
            if row.pid not in ours
            and (
                proof := _proof(
                    row,
                    marks,
                    is_orphan=row.session in orphaned,
                    listening=listening,
                    is_lost=_has_lost(row, marks.kept_by, reapers),
                )
            )
        }
        found = proc.kin(rows, ours | strays)
        return tuple(
            Member(identity=identity(rows[pid]), command=_command(rows[pid]), proof=proof)
            for pid, proof in sorted(found.items())
            if rows[pid].is_alive
        )

    def _listening(self, ports: Sequence[int]) -> set[int]:
        seen = self._sockets.listeners(ports).values() if ports else ()
        return {one.value.pid for one in seen if isinstance(one, Present)}


def _living(who: Sequence[ProcessIdentity]) -> list[Member]:
    rows = ((one, proc.row(one.pid)) for one in who)
    return [
        Member(identity=one, command=_command(row), proof="named")
        for one, row in rows
        if row is not None and row.is_alive and is_still(row, one)
    ]


def _roots(rows: Mapping[int, proc.Row], roots: Sequence[ProcessIdentity]) -> tuple[dict[int, str], set[int]]:
    """Living roots, and the sessions whose leader was a root that is gone.

    A number in the second set may by now be another session's: its processes need one more proof.
    """
    of_this_boot = [root for root in roots if root.boot_id == boot_id()]
    seeds = {root.pid: "root" for root in of_this_boot if is_still(rows.get(root.pid), root)}
    return seeds, {root.pid for root in of_this_boot if root.pid not in rows}


def _proof(
    row: proc.Row,
    marks: Marks,
    *,
    is_orphan: bool,
    listening: Callable[[], set[int]],
    is_lost: bool = False,
) -> str:
    """The two facts that tie a stray to the agent; empty when there are not two."""
    marked = proc.carries(row.pid, marks.marker)
    if is_orphan and marked:
        return "session+marker"
    if marked and is_lost:
        return "marker+keeper"
    placed = (marked or is_orphan) and _works_in(row.pid, marks.cwd)
    if is_orphan and placed:
        return "session+cwd"
    if marked and placed:
        return "marker+cwd"
    return "marker+port" if marked and row.pid in listening() else ""


def _has_lost(row: proc.Row, keeper: ProcessIdentity | None, reapers: Collection[int]) -> bool:
    """Whether it may have been a child of a keeper that died: it began after it, and whoever takes orphans here has it now.

    That is the first process, or an ancestor of this one that takes orphans (PR_SET_CHILD_SUBREAPER, prctl(2)).
    """
    if keeper is None or keeper.boot_id != boot_id():
        return False
    return row.start_ticks >= keeper.start_ticks and row.ppid in reapers


def _lookup(pids: Iterable[int]) -> dict[int, proc.Row]:
    return {pid: row for pid in pids if (row := proc.row(pid)) is not None}


def _upwards(pid: int) -> list[proc.Row]:
    """A process, its ancestors, their session leaders and so on; never this process or its own ancestors."""
    outside = _line_of_descent(os.getpid())
    found: dict[int, proc.Row] = {}
    ahead = [pid]
    while ahead:
        pid = ahead.pop()
        if pid not in found and pid not in outside and (row := proc.row(pid)) is not None:
            found[pid] = row
            ahead += [row.ppid, row.session]
    return list(found.values())


def _line_of_descent(pid: int) -> set[int]:
    line: set[int] = set()
    while (row := proc.row(pid)) is not None and pid not in line:
        line.add(pid)
        pid = row.ppid
    return line


def _command(row: proc.Row) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{row.pid}/cmdline").read_bytes()
        if words:
            return " ".join(words.rstrip(b"\0").decode("utf-8", "replace").split("\0"))
    return f"[{row.name}]"


def _works_in(pid: int, folder: Path) -> bool:
    try:
        cwd = os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115  a plain string compares twice as fast
    except OSError:
        return False
    return any(cwd == place or cwd.startswith(f"{place}/") for place in _spellings(folder))


def _spellings(folder: Path) -> Iterator[str]:
    yield str(folder)
    # The kernel shows where a process really is; a removed folder is shown with a remark.
    yield os.path.realpath(folder)
    yield f"{folder} (deleted)"
