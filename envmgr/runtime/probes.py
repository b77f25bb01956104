"""Look once whether a service is ready; who listens matters, not only that somebody does."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError, PortTaken, Unobservable
from envmgr.model.observe import Present, ProcessIdentity
from envmgr.model.probe import (
    AllOf,
    AnyOf,
    ExecProbe,
    HttpProbe,
    ImageHealth,
    LogProbe,
    NotifyProbe,
    Probe,
    ProcessProbe,
    ResourceProbe,
    TcpProbe,
)

_BODY_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one look said: ready or why not.

    Attributes:
        is_unknown: Who had to look gave no answer: that says nothing about the service.
    """

    is_ready: bool
    why: str = ""
    is_unknown: bool = False


Execute = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]
"""Run argv in the service's environment within seconds; exit status and the end of its output."""

Ask = Callable[[], Awaitable[Answer]]
"""Something that can be asked for its own view."""

IsForeign = Callable[[int], str]
"""Who else listens on a port, as a description; empty when it is ours or cannot be told."""


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
        foreign: The owner check; None switches it off.
        container: Its inside; None for processes.
        notified: Whether this launch has said READY=1.
        metered: Its processes; None for external services.
    """

    ports: Mapping[str, int]
    shell: str
    execute: Execute
    log: Path | None = None
    log_offset: int = 0
    foreign: IsForeign | None = None
    container: Inside | None = None
    notified: Ask | None = None
    metered: Metered | None = None


_NOT_A_CONTAINER = Answer(is_ready=False, why="it runs in no container")
_NO_PROCESSES = Answer(is_ready=False, why="it has no processes here")
_NOT_NOTIFIED = Answer(is_ready=False, why="it has not said READY=1")


async def look(probe: Probe, subject: Subject, *, timeout_s: float) -> Answer:
    """One attempt of at most `timeout_s` seconds.

    Raises:
        PortTaken: The owner check found somebody else's listener.
    """
    match probe:
        case HttpProbe():
            return await _owned(_http(probe, subject, timeout_s), probe.port, subject)
        case TcpProbe():
            return await _owned(_tcp(probe, subject, timeout_s), probe.port, subject)
        case ExecProbe(command=command, inside=inside):
            argv = (subject.shell, "-c", command) if isinstance(command, str) else command
            execute = subject.container.execute if inside and subject.container else subject.execute
            return await _exec(argv, execute, timeout_s)
        case LogProbe(pattern=pattern):
            return await _log(pattern, subject, timeout_s)
        case ImageHealth():
            return await _health(subject.container) if subject.container else _NOT_A_CONTAINER
        case NotifyProbe():
            return await subject.notified() if subject.notified else _NOT_NOTIFIED
        case ProcessProbe():
            return await _processes(probe, subject)
        case ResourceProbe():
            return await _resources(probe, subject)
        case AnyOf(probes=probes):
            answers = [await look(each, subject, timeout_s=timeout_s) for each in probes]
            return next((a for a in answers if a.is_ready), _least_sure(answers))
        case AllOf(probes=probes):
            answers = [await look(each, subject, timeout_s=timeout_s) for each in probes]
            return next((a for a in answers if not (a.is_ready or a.is_unknown)), _least_sure(answers))


def _least_sure(answers: Sequence[Answer]) -> Answer:
    return next((a for a in answers if a.is_unknown), answers[-1])


def number(port: str, subject: Subject) -> int:
    """The port of a probe: a name of the service's, or a number as text."""
    return subject.ports[port] if port in subject.ports else int(port)


async def _owned(attempt: Awaitable[Answer], port: str, subject: Subject) -> Answer:
    answer = await attempt
    if subject.foreign is not None and (answer.is_ready or "refused" not in answer.why):
        owner = await blocking.look("proc", 5.0, subject.foreign, number(port, subject))
        if owner:
            raise PortTaken.by(owner, port=number(port, subject))
    return answer


async def _guarded(call: Callable[[], Answer], timeout_s: float) -> Answer:
    try:
        return await blocking.look("probe", timeout_s + 0.5, call)
    except (OSError, http.client.HTTPException, Unobservable) as error:
        return Answer(is_ready=False, why=_words(error))


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nothing listens yet"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.message if isinstance(error, EnvmgrError) else f"{type(error).__name__}: {error}"


async def _tcp(probe: TcpProbe, subject: Subject, timeout_s: float) -> Answer:
    def call() -> Answer:
        inside = subject.container
        place = inside.address(probe.port) if inside else (probe.host, number(probe.port, subject))
        socket.create_connection(place, timeout_s).close()
        return Answer(is_ready=True)

    return await _guarded(call, timeout_s)


async def _http(probe: HttpProbe, subject: Subject, timeout_s: float) -> Answer:
    kind = http.client.HTTPSConnection if probe.scheme == "https" else http.client.HTTPConnection

    def call() -> Answer:
        # A published port is fine here: an answer is more than a connection.
        is_unpublished = subject.container is not None and probe.port not in subject.ports
        host, port = probe.host, 0
        if subject.container is not None and is_unpublished:
            host, port = subject.container.address(probe.port)
        connection = kind(host, port or number(probe.port, subject), timeout=timeout_s)
        try:
            connection.request("GET", probe.path, headers={**probe.headers, "Connection": "close"})
            response = connection.getresponse()
            body = response.read(_BODY_BYTES) if probe.body is not None else b""
        finally:
            connection.close()
        return _judge(probe, response.status, body.decode("utf-8", "replace"))

    return await _guarded(call, timeout_s)


def _judge(probe: HttpProbe, status: int, body: str) -> Answer:
    accepted = status in probe.status if probe.status else 200 <= status < 400
    if not accepted:
        return Answer(is_ready=False, why=f"GET {probe.path} answered {status}")
    if probe.body is not None and not re.search(probe.body, body):
        return Answer(is_ready=False, why=f"GET {probe.path}: body does not match {probe.body!r}")
    return Answer(is_ready=True)


async def _health(container: Inside) -> Answer:
    try:
        said = await container.health()
    except EnvmgrError as error:
        return _failed(error)
    why = f"its health check says {said}" if said else "its image has no HEALTHCHECK"
    return Answer(is_ready=said == "healthy", why=why)


def _failed(error: EnvmgrError) -> Answer:
    return Answer(is_ready=False, why=error.message, is_unknown=isinstance(error, Unobservable))


async def _exec(argv: Sequence[str], execute: Execute, timeout_s: float) -> Answer:
    try:
        code, output = await execute(argv, timeout_s)
    except EnvmgrError as error:
        return _failed(error)
    return Answer(
        is_ready=code == 0, why="" if code == 0 else f"probe exited with {code}: {output[-200:].strip()}"
    )


async def _log(pattern: str, subject: Subject, timeout_s: float) -> Answer:
    log = subject.log
    if log is None:
        return Answer(is_ready=False, why="there is no log")

    def call() -> Answer:
        with log.open("rb") as file:
            file.seek(min(subject.log_offset, file.seek(0, 2)))
            found = re.search(pattern, file.read().decode("utf-8", "replace"))
        return Answer(is_ready=found is not None, why="" if found else f"no log line matches {pattern!r} yet")

    return await _guarded(call, timeout_s)


async def _processes(probe: ProcessProbe, subject: Subject) -> Answer:
    if subject.metered is None:
        return _NO_PROCESSES
    try:
        commands = await subject.metered.commands()
    except EnvmgrError as error:
        return _failed(error)
    found = sum(re.search(probe.pattern, line) is not None for line in commands)
    what = f" with {probe.pattern!r} in the command line" if probe.pattern else ""
    why = f"{found} of {probe.count} processes{what}"
    return Answer(is_ready=found >= probe.count, why="" if found >= probe.count else why)


async def _resources(probe: ResourceProbe, subject: Subject) -> Answer:
    if subject.metered is None:
        return _NO_PROCESSES
    try:
        use = await subject.metered.use()
    except EnvmgrError as error:
        return _failed(error)
    why = "; ".join(_excesses(probe, use))
    return Answer(is_ready=not why, why=why)


def _excesses(probe: ResourceProbe, use: Use) -> Iterator[str]:
    if probe.memory_bytes is not None and use.memory_bytes > probe.memory_bytes:
        yield f"uses {use.memory_bytes / 1e6:.0f} MB of {probe.memory_bytes / 1e6:.0f} MB"
    if probe.cpus is not None and use.cpus is not None and use.cpus > probe.cpus:
        yield f"uses {use.cpus:.1f} of {probe.cpus:g} processors"
    if probe.open_files is not None and use.open_files > probe.open_files:
        yield f"has {use.open_files} files open of {probe.open_files}"


def foreign_listener(
    port: int,
    *,
    listener: Callable[[int], object],
    is_ours: Callable[[ProcessIdentity], bool],
    name: Callable[[int], str],
) -> str:
    """Describe the listener if it is surely not ours; empty otherwise (unknown never fails a probe)."""
    match listener(port):
        case Present(value=ProcessIdentity() as identity) if not is_ours(identity):
            return f"pid {identity.pid} ({name(identity.pid)})"
    return ""
