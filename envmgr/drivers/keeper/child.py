"""Start one process: session of its own, exact environment, limits, and the exact reason when it cannot be executed.

Part of the keeper: standard library only.
"""

from __future__ import annotations

import os
import resource
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

# Ignored signals stay ignored over exec, and Python ignores these two itself; a service starts with a clean slate.
_RESET = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD,
)  # fmt: skip


class NotExecuted(Exception):
    """The program never ran; says why in the words of the system."""


def start(launch: Mapping[str, Any], output: int) -> int:
    """Fork and exec, and wait the few milliseconds until exec has happened or failed.

    Args:
        launch: argv, cwd, env and limits as the client sent them.
        output: Descriptor that becomes stdout and stderr.

    Returns:
        The pid, which is also the session id.

    Raises:
        NotExecuted: With a text such as "No such file or directory: npm".
    """
    told, tell = os.pipe()
    # A signal between fork and exec would reach the keeper's handlers inside the child.
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, _RESET)
    try:
        pid = os.fork()
        if pid == 0:
            _become(launch, output, tell)
    except OSError as error:
        os.close(told)
        raise NotExecuted(f"cannot fork: {error.strerror}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        os.close(tell)
    try:
        failure = _drain(told)
    finally:
        os.close(told)
    if failure:
        os.waitpid(pid, 0)
        raise NotExecuted(failure.decode("utf-8", "replace"))
    return pid


def _become(launch: Mapping[str, Any], output: int, tell: int) -> NoReturn:
    """Turn this forked copy of the keeper into the service. The error pipe closes itself on exec."""
    subject = ""
    try:
        signal.set_wakeup_fd(-1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        subject = "limits"
        _limit(launch.get("limits") or {})
        subject = launch["cwd"]
        os.chdir(subject)
        subject = launch["argv"][0]
        os.execvpe(subject, launch["argv"], launch["env"])
    except BaseException as error:  # noqa: BLE001  a copy of the keeper must never go on, whatever failed
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(tell, f"{reason}: {subject}".encode("utf-8", "surrogateescape"))
    os._exit(127)


def _limit(limits: Mapping[str, int | None]) -> None:
    """Apply rlimits and priority. Memory counts what is writable, so that reserved address space costs nothing."""
    for name, which in (
        ("memory_bytes", resource.RLIMIT_DATA),
        ("nofile", resource.RLIMIT_NOFILE),
        ("pids", resource.RLIMIT_NPROC),
    ):
        if (value := limits.get(name)) is not None:
            resource.setrlimit(which, (value, value))
    if (nice := limits.get("nice")) is not None:
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _drain(fd: int) -> bytes:
    data = b""
    while chunk := os.read(fd, 4096):
        data += chunk
    return data
