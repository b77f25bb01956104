"""The daemon's process: one per state directory, held by a kernel lock; HTTP on a Unix socket, and on TCP where that is switched on.

Agents outlive it: ending or killing it stops none of them.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import sys
import traceback
from pathlib import Path

from envmgr.aio import oom
from envmgr.app import paths
from envmgr.errors import EnvmgrError
from envmgr.logs import set_up

log = logging.getLogger(__name__)

_SWITCH_S = 0.0005


def main() -> int:
    """Run until a signal or a request ends it; 0 also when another daemon serves this state directory."""
    # No umask of its own: checkouts, services and agents inherit it, and their files are the person's as usual.
    folder = Path(paths.state_dir())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    set_up(sys.stderr)
    # A busy loop would otherwise keep the store's writer thread waiting for the interpreter lock, 5 ms a turn.
    sys.setswitchinterval(_SWITCH_S)
    lock = _singleton(folder / paths.LOCK)
    if lock is None:
        return 0
    oom.shield()
    try:
        _run(folder, lock)
    except (EnvmgrError, BaseExceptionGroup) as error:
        first = _first(error)
        if not isinstance(first, EnvmgrError):
            raise
        log.error("daemon failed", extra={"why": first.message, "hint": first.hint})
        return first.exit
    finally:
        gc.freeze()  # the interpreter ends in a fifth of a second less
    return 0


def _run(folder: Path, lock: int) -> None:
    """What is loaded stays, so nobody looks for garbage among it: neither while it is loaded, nor ever after."""
    gc.disable()
    # Only now: it takes nearly a second, and a daemon that is one too many has ended by now.
    from envmgr.interfaces.http import serving

    gc.freeze()
    gc.enable()
    serving.run(folder, lock)


def _first(error: BaseException) -> BaseException:
    """The error inside of task groups."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _singleton(path: Path) -> int | None:
    """The lock, with our pid written into it; None when another daemon holds it. The kernel frees it at our end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    os.ftruncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())
    return fd


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # noqa: BLE001 - the last line of the process: into its log
        traceback.print_exc()
        sys.exit(1)
