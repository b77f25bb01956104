"""A private tmux server for one test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from envmgr.drivers.tmux import TmuxTerminals
from tests.support.wait import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class TmuxLab:
    """Terminals under test, and the bare tmux to look at them from outside."""

    terminals: TmuxTerminals
    socket: Path
    folder: Path

    def tmux(self, *words: str) -> str:
        """Run a tmux command on the same server, independently of the code under test."""
        return subprocess.run(
            ["tmux", "-N", "-u", "-S", self.socket, *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        ).stdout.strip()

    def server_pid(self) -> int:
        return int(self.tmux("display-message", "-p", "#{pid}"))

    def helpers(self) -> list[psutil.Process]:
        """Living tmux clients that this process has started on the socket."""
        return [
            child
            for child in psutil.Process().children(recursive=True)
            if child.status() != psutil.STATUS_ZOMBIE and str(self.socket) in child.cmdline()
        ]

    @contextlib.contextmanager
    def stopped_server(self) -> Iterator[None]:
        """The server does not run inside this block."""
        pid = self.server_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def tmux_lab(folder: Path, *, deadline_s: float = 5.0) -> AsyncIterator[TmuxLab]:
    """Terminals on a socket in `folder`; their server, if any, is ended afterwards."""
    lab = TmuxLab(
        terminals=TmuxTerminals(folder / "s", folder / "config", deadline_s=deadline_s),
        socket=folder / "s",
        folder=folder,
    )
    try:
        yield lab
    finally:
        await lab.terminals.stop()
        with contextlib.suppress(subprocess.CalledProcessError):
            lab.tmux("kill-server")
