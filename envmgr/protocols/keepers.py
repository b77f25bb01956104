"""Keepers: small processes that hold an agent's process services and outlive the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envmgr.model.observe import ProcessIdentity, Seen
from envmgr.model.service import LogPolicy, ProcessLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """A socket that the keeper opens for a service and keeps over its launches; named for sd_listen_fds(3)."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A process to hold.

    Attributes:
        service: Name; one process per name at a time.
        argv: Executed directly.
        env: The whole environment; nothing is inherited from the keeper.
        tty: It gets a terminal of its own instead of pipes.
        stdin: Its standard input stays open, though nobody writes there; else it is at its end.
        listen: What it finds open.
    """

    service: str
    generation: int
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    logs: LogPolicy = LogPolicy()
    limits: ProcessLimits = ProcessLimits()
    tty: bool = False
    stdin: bool = False
    listen: tuple[Listen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A service as its keeper knows it.

    Attributes:
        launch: Grows with each launch of the same service.
        identity: The process; kept after its end. None for a container whose process is out of sight.
        container: Id of the container, if it runs in one.
        out_of_memory: It was killed because it hit its memory limit.
        over_limit: Why envmgr ended it, when it used more than it may.
        exit_code, exit_signal: How it ended; both None while alive.
        error: Why it could not be executed, such as "No such file or directory: npm".
        log: Path of the current log file.
        log_offset: Bytes of log written (over all rotations) when this launch began.
        log_base: Bytes written before the current file's first one; so this launch begins at byte
            `log_offset - log_base` of `log`, and further back in `log`.1, .2, ... when that is negative.
    """

    service: str
    generation: int
    launch: int
    identity: ProcessIdentity | None
    started_at: float
    ended_at: float | None
    exit_code: int | None
    exit_signal: str | None
    error: str
    log: Path
    log_offset: int
    log_base: int = 0
    container: str = ""
    out_of_memory: bool = False
    over_limit: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether the main process runs."""
        return self.ended_at is None and (self.identity is not None or bool(self.container))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRecord:
    """What the last keeper of a folder wrote down; the only source when it was killed."""

    owner: str
    identity: ProcessIdentity
    services: Mapping[str, Held]


class Keeper(Protocol):
    """The keeper of one agent, reached through its socket."""

    async def launch(self, what: Launch) -> Held:
        """Start a process in a session of its own. The same service and generation, alive: returned as it is.

        Raises:
            PortTaken: Somebody else listens where it is to listen.
        """

    async def status(self) -> Mapping[str, Held]:
        """All services it was asked to hold. Raises Unobservable when it does not answer within 2 s."""

    async def signal(self, service: str, signal: str) -> None:
        """Signal every process of the service's session."""

    async def stop(
        self,
        service: str,
        *,
        signal: str = "SIGTERM",
        grace_s: float = 10.0,
        over_limit: str = "",
        keys: str = "",
    ) -> tuple[int, ...]:
        """Signal the set, grace, KILL, verify; returns pids that survived. Stopping twice is harmless.

        Args:
            over_limit: Kept with how it ended, if it is alive.
            keys: Typed first at its terminal, if it has one; then the signal comes after half of the grace.
        """

    async def forget(self, service: str) -> None:
        """Close what is kept open for its next launch; it will have none."""

    def changes(self) -> AsyncIterator[Held]:
        """Starts and ends as they happen, beginning with the present state of each service."""

    async def dismiss(self) -> None:
        """End the keeper; refuses (Conflict) while it holds living processes."""


class Keepers(Protocol):
    """Start, find and adopt keepers. `home` is the agent's folder; socket, lock, logs and exit records live there."""

    async def hire(self, home: Path, *, owner: str) -> Keeper:
        """The running keeper of this folder, or a new one, detached from the daemon.

        Raises:
            Conflict: A keeper of another owner holds the folder.
            Unobservable: One holds the folder's lock and does not answer.
        """

    async def find(self, home: Path, *, owner: str) -> Seen[Keeper]:
        """Absent when nobody holds the lock."""

    async def record(self, home: Path) -> KeeperRecord | None:
        """What the folder's last keeper wrote down, whether it lives or not; None if nothing readable is there."""

    async def wake(self, home: Path, *, owner: str) -> None:
        """Let a keeper that was stopped (SIGSTOP) go on; only one that is surely this folder's."""

    async def end(self, home: Path, *, owner: str) -> None:
        """Kill the keeper that holds the folder's lock and answers nobody. Its services live on, and are then to be swept.

        Harmless when nobody holds the lock.

        Raises:
            Unobservable: It is not sure who holds the lock (R-31), or it cannot be ended; nobody else was signalled.
        """

    async def clear(self, home: Path) -> None:
        """Delete the socket that a killed keeper left; only after `find` said Absent."""
