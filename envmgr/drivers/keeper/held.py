"""One service under a keeper: its process, its output, how it ended.

Part of the keeper: standard library only.
"""

from __future__ import annotations

import os
import signal
import time

from envmgr.drivers import proc
from envmgr.drivers.keeper import child, streams
from envmgr.drivers.keeper.logfile import LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Held:
    """A launch of a service. `pid` is None when it could not be executed.

    Attributes:
        marks: Variables by which a process that left the session is recognised as this service's.
        output: Our end of its stdout and stderr; None when everybody who held it has closed it.
    """

    def __init__(
        self, ask: Mapping[str, Any], log: LogFile, *, launch: int, sockets: Sequence[int] = ()
    ) -> None:
        self.service: str = ask["service"]
        self.generation: int = ask["generation"]
        self.launch, self.log, self.log_offset = launch, log, log.offset
        self.marks = {name: value for name, value in ask["env"].items() if name.startswith("ENVMGR_")}
        self.pid: int | None = None
        self.start_ticks = 0
        self.has_terminal = bool(ask.get("tty"))
        self.output: int | None = None
        self._streams: streams.Streams | None = None
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.exit_code: int | None = None
        self.exit_signal: str | None = None
        self.error = self.over_limit = ""
        self._start(ask, sockets)

    @property
    def is_alive(self) -> bool:
        """Whether the main process runs."""
        return self.pid is not None and self.ended_at is None

    def ended(self, status: int) -> None:
        """Keep how the main process ended, from its wait status."""
        self.ended_at = time.time()
        if os.WIFSIGNALED(status):
            self.exit_signal = _name(os.WTERMSIG(status))
        else:
            self.exit_code = os.WEXITSTATUS(status)

    def read(self) -> bytes | None:
        """What is in the pipe; None if nothing just now, empty if nobody will ever write again."""
        assert self.output is not None
        return streams.read(self.output, self.log.chunk_bytes)

    def type(self, keys: str) -> bool:
        """Press keys at its terminal; whether it has one that takes them."""
        return self.has_terminal and self._streams is not None and self._streams.type(keys)

    def close(self) -> None:
        """Let go of output and input; harmless when repeated."""
        if self._streams is not None:
            self._streams.close()
            self._streams = self.output = None
            self.log.close()

    def document(self, boot_id: str) -> dict[str, Any]:
        """As it stands in answers and in the record."""
        identity = {"pid": self.pid, "start_ticks": self.start_ticks, "boot_id": boot_id}
        return {
            "service": self.service,
            "generation": self.generation,
            "launch": self.launch,
            "identity": identity if self.pid is not None else None,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "exit_code": self.exit_code,
            "exit_signal": self.exit_signal,
            "error": self.error,
            "over_limit": self.over_limit,
            "log": self.log.path,
            "log_offset": self.log_offset,
            "log_base": self.log.base,
            "log_dropped_bytes": self.log.dropped_bytes,
        }

    def _start(self, ask: Mapping[str, Any], sockets: Sequence[int]) -> None:
        try:
            ends = self._streams = streams.Streams(tty=self.has_terminal, stdin=bool(ask.get("stdin")))
        except OSError:
            self.log.close()
            raise
        self.output = ends.output
        try:
            self.pid = child.start(ask, ends.theirs, sockets)
            self.start_ticks = _start_ticks(self.pid)
        except child.NotExecuted as error:
            self.error, self.ended_at = str(error), self.started_at
            self.close()
        finally:
            ends.hand_over()


def _start_ticks(pid: int) -> int:
    """Of a child that has not been waited for, so its row is there even if it has already ended."""
    try:
        found = proc.row(pid)
    except OSError:  # out of descriptors: an identity that fits nobody, so nobody is signalled by mistake
        found = None
    return found.start_ticks if found else 0


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
