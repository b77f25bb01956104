"""Whom the kernel ends when memory runs out: whoever supervises comes last, where this user may say so (R-36, proc(5)).

The score is inherited. So whoever is started by a shielded process has to be released at once: git and hooks by the
parent, panes of terminals by their first command, services and assistants by scores of their own.
"""

from __future__ import annotations

import contextlib

SHIELDED = -900
_NEUTRAL = 0
_own = _NEUTRAL


def shield(pid: int | None = None) -> bool:
    """Take a process, by default this one, out of the kernel's choice as far as allowed; whether it is now.

    One that was started with a score above 0, as by an agent, at least goes back to 0, which anybody may.
    """
    global _own
    is_done = _write(pid, SHIELDED)
    if not is_done and (score(pid) or 0) > _NEUTRAL:
        _write(pid, _NEUTRAL)
    if pid is None:
        _own = SHIELDED if is_done else _NEUTRAL
    return is_done


def is_shielded() -> bool:
    """Whether this process is, and its children would be."""
    return _own < _NEUTRAL


def release(pid: int) -> None:
    """Give a child that was just started the usual score; nothing happens when there is nothing to give back."""
    if is_shielded():
        _write(pid, _NEUTRAL)


def released() -> tuple[str, ...]:
    """What goes before a command that a shielded process starts and that we do not start ourselves."""
    if not is_shielded():
        return ()
    return ("/bin/sh", "-c", '{ echo 0 > /proc/self/oom_score_adj; } 2>/dev/null; exec "$@"', "sh")


def score(pid: int | None = None) -> int | None:
    """From -1000, never, to 1000, first; None when nobody can tell."""
    with contextlib.suppress(OSError, ValueError), open(_path(pid), "rb") as file:  # noqa: PTH123
        return int(file.read())
    return None


def _write(pid: int | None, value: int) -> bool:
    try:
        with open(_path(pid), "wb", buffering=0) as file:  # noqa: PTH123
            file.write(b"%d" % value)
    except OSError:  # not allowed, no Linux, or it has ended
        return False
    return True


def _path(pid: int | None) -> str:
    return f"/proc/{'self' if pid is None else pid}/oom_score_adj"
