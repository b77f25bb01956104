"""What a look at a service needs, and what it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envmgr.runtime.ownership import OwnerOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one look said: ready or why not.

    Attributes:
        is_unknown: Who had to look gave no answer: that says nothing about the service.
        foreign: Who else listens on its port, when that is sure.
    """

    is_ready: bool
    why: str = ""
    is_unknown: bool = False
    foreign: str = ""


Execute = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]
"""Run argv in the service's environment within seconds; exit status and the end of its output."""

Ask = Callable[[], Awaitable[Answer]]
"""Something that can be asked for its own view."""


class Inside(Protocol):
    """A container, for probes."""

    def address(self, port: str) -> tuple[str, int]:
        """Where a port (by name, or a number as text) really listens. Raises Unobservable when it has no address."""

    async def execute(self, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run a command inside, with the container's environment."""

    async def health(self) -> str:
        """`starting`, `healthy` or `unhealthy`; empty when the image has no check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the processes of a launch use together.

    Attributes:
        cpus: Processors since the measurement before; None for the first one.
        open_files: Of the one that has most.
    """

    memory_bytes: int
    cpus: float | None
    open_files: int


class Metered(Protocol):
    """The processes of a launch, for probes."""

    async def commands(self) -> Sequence[str]:
        """Command line of each that lives. Raises Unobservable when they are out of sight."""

    async def use(self) -> Use:
        """Measure. Raises Unobservable when they are out of sight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The service that is looked at.

    Attributes:
        ports: Its ports by name.
        log, log_offset: Where this launch's output begins; None for external services.
        owner_of: The owner check; None switches it off.
        container: Its inside; None for processes.
        notified: Whether this launch has said READY=1.
        metered: Its processes; None for external services.
    """

    ports: Mapping[str, int]
    shell: str
    execute: Execute
    log: Path | None = None
    log_offset: int = 0
    owner_of: OwnerOf | None = None
    container: Inside | None = None
    notified: Ask | None = None
    metered: Metered | None = None

    def number(self, port: str) -> int:
        """The port of a probe: a name of the service's, or a number as text."""
        return self.ports[port] if port in self.ports else int(port)
