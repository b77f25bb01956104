"""Both ends of what a service reads and writes: pipes, or a terminal of its own.

Part of the keeper: standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios

_ROWS, _COLUMNS = 40, 120
_OUTPUT_FLAGS, _LOCAL_FLAGS = 1, 3  # places in what tcgetattr gives


class Streams:
    """Open descriptors of one launch.

    Attributes:
        output: Our end of its output.
        input: Our end of its input; None when it reads from nothing.
        theirs: What becomes its input (-1: nothing) and its output, until `hand_over`.
    """

    def __init__(self, *, tty: bool, stdin: bool) -> None:
        self.input: int | None = None
        if tty:
            self.output, theirs = _terminal()
            self.input, self.theirs = self.output, (theirs, theirs)
        else:
            self.output, theirs = os.pipe()
            self.theirs = (-1, theirs)
            if stdin:
                self._open_input(theirs)
        os.set_blocking(self.output, False)
        if self.input is not None:
            os.set_blocking(self.input, False)

    def _open_input(self, theirs: int) -> None:
        try:
            reads, self.input = os.pipe()
        except OSError:
            os.close(self.output)
            os.close(theirs)
            raise
        self.theirs = (reads, theirs)

    def hand_over(self) -> None:
        """Close the ends that are the service's now."""
        for fd in set(self.theirs) - {-1}:
            os.close(fd)

    def close(self) -> None:
        """Close our ends."""
        os.close(self.output)
        if self.input is not None and self.input != self.output:
            os.close(self.input)

    def type(self, text: str) -> bool:
        """Write to its input as somebody at a terminal would; whether it could."""
        if self.input is None:
            return False
        with contextlib.suppress(OSError):  # it reads nothing, or is gone
            return os.write(self.input, text.encode()) > 0
        return False


def read(fd: int, at_most: int) -> bytes | None:
    """None if there is nothing just now, empty if nobody will ever write again."""
    try:
        return os.read(fd, at_most)
    except BlockingIOError:
        return None
    except OSError:  # EIO: a terminal that nobody has open any more
        return b""


def take_terminal(fd: int) -> None:
    """In the new process, leader of its session: this terminal becomes its own."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def _terminal() -> tuple[int, int]:
    """Newlines stay as the program writes them, and nothing is echoed: the log has its output and nothing else."""
    ours, theirs = os.openpty()
    modes = termios.tcgetattr(theirs)
    modes[_OUTPUT_FLAGS] &= ~termios.OPOST
    modes[_LOCAL_FLAGS] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    return ours, theirs
