"""Run an external command to its end: own process group, both pipes drained, deadline, killed on cancel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from envmgr.aio import oom
from envmgr.errors import Unavailable, Unobservable

# Threads, because asyncio's own subprocesses cost a watcher thread each on 3.11 and their wait() hangs
# while a grandchild holds a pipe (cpython#119710).
_limiter: anyio.CapacityLimiter | None = None
_THREADS = 32
_TOLD_CHARS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended. `code` is negative for a signal, as in `subprocess`."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def is_ok(self) -> bool:
        """Exit status 0."""
        return self.code == 0


@dataclass(slots=True)
class _Call:
    """One running command, shared between its thread and the event loop."""

    argv: tuple[str, ...]
    cwd: Path | None
    env: Mapping[str, str] | None
    input: bytes | None
    deadline_s: float
    pass_fds: Sequence[int] = ()
    in_one: bool = False
    started: Callable[[], object] | None = None
    process: subprocess.Popen[bytes] | None = None
    is_cancelled: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> Finished:
        with self.lock:
            if self.is_cancelled:
                return Finished(argv=self.argv, code=-signal.SIGKILL, stdout="", stderr="cancelled")
            self.process = self._start()
            oom.release(self.process.pid)
        if self.started is not None:
            self.started()
        try:
            out, err = self.process.communicate(self.input, timeout=self.deadline_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            # Close the pipes instead of reading to their end: others may hold them open, such as a stuck tmux server
            # that the killed client had handed its output to.
            with self.process:
                pass
            raise Unobservable(
                f"`{_show(self.argv)}` did not end within {self.deadline_s:g} s and was killed",
                hint="Run `envmgr doctor`.",
                details={"output": _text(error.output or b"")[-_TOLD_CHARS:]},
            ) from error
        return Finished(
            argv=self.argv, code=self.process.returncode, stdout=_text(out), stderr=_text(err or b"")
        )

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self.argv,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL if self.input is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if self.in_one else subprocess.PIPE,
                start_new_session=True,
                pass_fds=self.pass_fds,
            )
        except OSError as error:
            raise Unavailable(
                f"cannot execute {self.argv[0]}: {error.strerror}", hint="Run `envmgr doctor`."
            ) from error

    def kill(self) -> None:
        """Kill the whole group; a group that is gone is fine."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def cancel(self) -> None:
        with self.lock:
            self.is_cancelled = True
            self.kill()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _show(argv: Sequence[str]) -> str:
    shown = " ".join(argv[:6])
    return shown if len(argv) <= 6 else f"{shown} ..."


async def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002 - as in subprocess
    deadline_s: float = 30.0,
    pass_fds: Sequence[int] = (),
    in_one: bool = False,
    started: Callable[[], None] | None = None,
) -> Finished:
    """Run `argv` and return its end, whatever the exit status.

    Cancelling kills the command's process group and waits until it is reaped, so that nothing happens later.

    Args:
        env: The whole environment; None inherits the caller's.
        deadline_s: Seconds until the group is killed.
        pass_fds: File descriptors the command inherits, such as a lock that it shall hold when we die.
        in_one: Its errors are part of `stdout`, where it wrote them.
        started: Called in the event loop as soon as the command runs.

    Raises:
        Unavailable: It could not be executed.
        Unobservable: The deadline passed; the outcome is unknown. `details` have the end of what it wrote (`output`).
    """
    global _limiter
    _limiter = _limiter or anyio.CapacityLimiter(_THREADS)
    call = _Call(
        argv=tuple(argv),
        cwd=cwd,
        env=env,
        input=input,
        deadline_s=deadline_s,
        pass_fds=pass_fds,
        in_one=in_one,
    )
    if started is not None:
        call.started = partial(asyncio.get_running_loop().call_soon_threadsafe, started)
    ended = threading.Event()

    def work() -> Finished:
        try:
            return call.work()
        finally:
            ended.set()

    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=_limiter)
    except anyio.get_cancelled_exc_class():
        call.cancel()
        with anyio.CancelScope(shield=True):
            while call.process is not None and not ended.is_set():  # noqa: ASYNC110 - a thread sets it
                await anyio.sleep(0.005)
        raise
