"""Start one process: session of its own, exact environment, limits, and the exact reason when it cannot be executed.

Part of the keeper: standard library only.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal

from envmgr.drivers.keeper import listening, streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

# Ignored signals stay ignored over exec, and Python ignores these two itself; a service starts with a clean slate.
_RESET = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD,
)  # fmt: skip


_OOM_SCORE = 300


class NotExecuted(Exception):
    """The program never ran; says why in the words of the system."""


def start(launch: Mapping[str, Any], ends: tuple[int, int], sockets: Sequence[int] = ()) -> int:
    """Fork and exec, and wait the few milliseconds until exec has happened or failed.

    Args:
        launch: argv, cwd, env and limits as the client sent them.
        ends: Descriptors that become stdin (-1: nothing), and stdout and stderr.
        sockets: What becomes its descriptors from 3 on, one for each of `listen`.

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
            _become(launch, ends, sockets, tell)
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


def _become(launch: Mapping[str, Any], ends: tuple[int, int], sockets: Sequence[int], tell: int) -> NoReturn:
    """Turn this forked copy of the keeper into the service. The error pipe closes itself on exec."""
    subject = ""
    try:
        signal.set_wakeup_fd(-1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        if launch.get("tty"):
            streams.take_terminal(ends[1])
        os.dup2(os.open(os.devnull, os.O_RDONLY) if ends[0] < 0 else ends[0], 0)
        os.dup2(ends[1], 1)
        os.dup2(ends[1], 2)
        clear = listening.above(len(sockets))
        sockets = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, clear) for fd in sockets]
        tell = fcntl.fcntl(tell, fcntl.F_DUPFD_CLOEXEC, clear)
        listening.place(sockets)
        subject = "limits"
        _limit(launch.get("limits") or {})
        _offer_to_kernel()
        subject = launch["cwd"]
        os.chdir(subject)
        subject = launch["argv"][0]
        os.execvpe(subject, launch["argv"], _environment(launch))
    except BaseException as error:  # noqa: BLE001  a copy of the keeper must never go on, whatever failed
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        os.write(tell, f"{reason}: {subject}".encode("utf-8", "surrogateescape"))
    os._exit(127)


def _environment(launch: Mapping[str, Any]) -> dict[str, str]:
    usual = {"TERM": "xterm-256color"} if launch.get("tty") else {}
    names = [one["name"] for one in launch.get("listen") or ()]
    return {**usual, **launch["env"], **listening.variables(names)}


def _limit(limits: Mapping[str, int | None]) -> None:
    """Apply what is honest as a limit of one process; memory and pids are of the whole service (docs/adr/0027)."""
    if (nofile := limits.get("nofile")) is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
    if (nice := limits.get("nice")) is not None:
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _offer_to_kernel() -> None:
    """When memory runs out services go first: who supervises them must live to tell (R-36)."""
    try:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            if int(file.read()) < _OOM_SCORE:
                file.write(b"%d" % _OOM_SCORE)
    except (OSError, ValueError):
        pass  # no Linux, or nothing that we may say here


def _drain(fd: int) -> bytes:
    data = b""
    while chunk := os.read(fd, 4096):
        data += chunk
    return data
