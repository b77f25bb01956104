"""The keeper: a small process that holds an agent's services and outlives the daemon.

Run as `python -I -S program.py HOME OWNER`. It returns 0 once the keeper serves HOME/keeper.sock in the background, and 75
if another one holds HOME/keeper.lock. One per agent, so memory counts: standard library only, no threads.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import sys
import time

if __name__ == "__main__":
    # Isolated mode knows no site-packages. Appended, so that nothing here can shadow the standard library.
    sys.path.append(os.path.abspath(f"{__file__}/../../../.."))

from envmgr.drivers.keeper.desk import Desk
from envmgr.drivers.keeper.server import Server

LOCK, SOCKET, LOG = "keeper.lock", "keeper.sock", "keeper.log"
IS_HELD = 75

_PR_SET_CHILD_SUBREAPER = 36
_OOM_SCORE = b"-900"
# Somebody who only looks whether a keeper is there takes the lock for microseconds.
_LOCK_TRIES, _LOCK_PAUSE_S = 20, 0.005


def main(home: str, owner: str) -> int:
    """Lock, listen, go to the background, serve."""
    home = os.path.abspath(home)
    os.chdir(home)  # so that the path of the socket stays below the 108 bytes of unix(7)
    lock = _lock()
    if lock is None:
        return IS_HELD
    listener = _listen()
    # Whoever waits for this process knows at its end that connecting works.
    if os.fork():
        os._exit(0)
    os.setsid()
    _shield()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    desk = Desk(home, owner)
    _let_go_of_terminal()
    Server(desk, listener).run()
    os.unlink(SOCKET)
    return 0


def _shield() -> None:
    """When memory runs out, services go before who holds them (R-36); they get a score of their own."""
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(_OOM_SCORE)
    except OSError:
        pass  # no Linux, or not allowed


def _lock() -> int | None:
    """Take the folder's lock for the whole life of this process; children never inherit the descriptor over exec."""
    fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return fd
    return None


def _listen() -> socket.socket:
    # We hold the lock, so a socket that is there was left by a keeper that is dead.
    if os.path.lexists(SOCKET):
        os.unlink(SOCKET)
    listener = socket.socket(socket.AF_UNIX)
    usual = os.umask(0o177)
    try:
        listener.bind(SOCKET)
    finally:
        os.umask(usual)
    listener.listen(128)
    listener.settimeout(0)
    return listener


def _let_go_of_terminal() -> None:
    """Standard streams go to nothing and to a log; the starter sees the end of its pipes and knows we are up."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.close(nothing)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
