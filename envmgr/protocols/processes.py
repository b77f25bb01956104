"""Processes of this host: who they are, which belong together, how they end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envmgr.model.observe import ProcessIdentity, Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A process found to belong to an agent. `proof` says why: session, descendant, marker+cwd, ..."""

    identity: ProcessIdentity
    command: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What ties a process to an agent.

    Attributes:
        roots: Processes known to be ours; their sessions and descendants belong too.
        marker: Environment variables all of which a stray must carry.
        cwd: A stray must also work in here, or listen on one of `ports`.
        kept_by: A keeper that has died. Whatever carries the marker, began after it and has no parent any more was a child of it,
            wherever it went since, and would have been ended with its service.
    """

    roots: tuple[ProcessIdentity, ...] = ()
    marker: Mapping[str, str]
    cwd: Path
    ports: tuple[int, ...] = ()
    kept_by: ProcessIdentity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A process of this user that says whose it is: by its environment, by its ancestor's, or, a keeper, by its words.

    Attributes:
        instance, agent, part: As it says; `part` is `keeper` for a keeper.
        generation: None when it does not say.
        age_s: Seconds since its start, by a clock that nobody sets.
        cwd: Empty when it cannot be read; a removed folder without the kernel's remark.
        parent: Pid of its parent, marked or not.
    """

    identity: ProcessIdentity
    command: str
    instance: str
    agent: str
    part: str
    generation: int | None
    age_s: float
    cwd: str
    resident_bytes: int = 0
    parent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a set of processes uses.

    Attributes:
        resident_bytes: Sum over the processes; what they share counts several times.
        tasks: Processes and threads.
        cpu_s: Seconds of processors since they began.
    """

    resident_bytes: int = 0
    tasks: int = 0
    cpu_s: float = 0.0
    pids: tuple[int, ...] = ()


class Processes(Protocol):
    """Identity is pid + start time + boot id; when that is unsure, nothing is signalled."""

    def identify(self, pid: int) -> ProcessIdentity | None:
        """None if there is no such process (or it is a zombie)."""

    def assistant_behind(self, pid: int, panes: Mapping[int, str], *, instance: str) -> str:
        """The agent whose assistant a process works for; empty for all others, and for commands that people run beside it.

        By descent, or by the marker of this installation. Blocking, some ten microseconds for each ancestor.

        Args:
            panes: Agents by the processes of their panes.
        """

    def is_suspended(self, pid: int) -> bool:
        """Whether somebody has stopped it (SIGSTOP): it lives, and does nothing."""

    def command(self, pid: int) -> str:
        """Command line of a process for people, at most 80 characters; empty when it cannot be read."""

    async def members(self, marks: Marks) -> Seen[Sequence[Member]]:
        """All living processes of an agent, never this process or its ancestors. `Absent` means none."""

    async def marked(self) -> Seen[Sequence[Marked]]:
        """Everybody who carries the marker of any installation, never this process or its ancestors. `Absent` means nobody."""

    async def end_these(self, *who: ProcessIdentity, grace_s: float = 10.0) -> Sequence[ProcessIdentity]:
        """TERM, grace, KILL to exactly these, and nobody else; returns the survivors."""

    def belongs(self, process: ProcessIdentity, marks: Marks) -> bool:
        """Whether one living process is a member; blocking, cheap, no scan of the whole table."""

    async def usage(self, sets: Mapping[str, Marks]) -> Mapping[str, Usage]:
        """What each of these sets uses: living roots with sessions and descendants, and their orphans. One look for all."""

    async def memory(self, pids: Sequence[int]) -> int:
        """Bytes that these processes hold; what they share counts once. Dearer than `usage`."""

    async def open_files(self, pids: Sequence[int]) -> int:
        """File descriptors of the one of these processes that has most of them open; 0 when none can be looked into."""

    async def end(
        self, marks: Marks, *, signal: str = "SIGTERM", hang_up: bool = False, grace_s: float = 10.0
    ) -> Sequence[Member]:
        """Signal the whole set, wait up to `grace_s`, KILL the rest, look again; returns the survivors.

        With `hang_up` who ignores the signal, as interactive shells ignore SIGTERM, gets SIGHUP too.
        Processes that appear meanwhile (forks) are taken in. Ending an empty set is harmless.
        """


class Sockets(Protocol):
    """TCP ports of this host."""

    def is_free(self, port: int) -> bool:
        """Whether v4 and v6, loopback and wildcard can all be bound just now."""

    def connections(self, ports: Collection[int]) -> int:
        """How many connections to servers on these ports are open; none when /proc does not tell."""

    def listener(self, port: int) -> Seen[ProcessIdentity]:
        """Who listens on a port; Unknown when /proc does not tell (another user's process)."""
