"""Look once how a service is; who listens matters, not only that somebody does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError, PortTaken, Unobservable
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
from envmgr.runtime.answers import Answer, Execute, Inside, Subject, Use
from envmgr.runtime.connecting import guarded, http_get, tcp
from envmgr.runtime.ownership import Owner, Ownership

_NOT_A_CONTAINER = Answer(is_ready=False, why="it runs in no container")
_NO_PROCESSES = Answer(is_ready=False, why="it has no processes here")
_NOT_NOTIFIED = Answer(is_ready=False, why="it has not said READY=1")


async def look(probe: Probe, subject: Subject, *, timeout_s: float) -> Answer:
    """One attempt of at most `timeout_s` seconds.

    Raises:
        PortTaken: The owner check found somebody else's listener.
    """
    match probe:
        case AnyOf(probes=probes):
            answers = [await look(each, subject, timeout_s=timeout_s) for each in probes]
            return next((a for a in answers if a.is_ready), _least_sure(answers))
        case AllOf(probes=probes):
            answers = [await look(each, subject, timeout_s=timeout_s) for each in probes]
            return next((a for a in answers if not (a.is_ready or a.is_unknown)), _least_sure(answers))
        case HttpProbe():
            return await _owned(partial(http_get, probe, subject, timeout_s), probe.port, subject, timeout_s)
        case TcpProbe():
            return await _owned(partial(tcp, probe, subject, timeout_s), probe.port, subject, timeout_s)
    return await _its_own_word(probe, subject, timeout_s)


async def _its_own_word(
    probe: ExecProbe | LogProbe | ImageHealth | NotifyProbe | ProcessProbe | ResourceProbe,
    subject: Subject,
    timeout_s: float,
) -> Answer:
    """Checks that need no connection."""
    match probe:
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


def _least_sure(answers: Sequence[Answer]) -> Answer:
    return next((a for a in answers if a.is_unknown), answers[-1])


async def _owned(attempt: Callable[[], Answer], port: str, subject: Subject, timeout_s: float) -> Answer:
    """An answer, and whose it is: of a good one in the same thread, since the way there is dear."""
    found: list[Ownership] = []

    def call() -> Answer:
        answer = attempt()
        if answer.is_ready and subject.owner_of is not None:
            found.append(subject.owner_of(subject.number(port)))
        return answer

    answer = await guarded(call, timeout_s)
    if not found and subject.owner_of is not None and "refused" not in answer.why:
        found.append(await blocking.look("proc", 5.0, subject.owner_of, subject.number(port)))
    for one in found:
        if one.owner is Owner.FOREIGN:
            raise PortTaken.by(one.who, port=subject.number(port))
    return answer


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

    return await guarded(call, timeout_s)


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
