"""Say in envmgr's words what SQLite and the file system complain about."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from envmgr.errors import Unavailable

_FULL = "Free some space; nothing was changed and envmgr goes on by itself."
_DAMAGED = (
    "Move the file away, together with those of the same name that end in -wal and -shm, or put a copy of all of"
    " them back; then start envmgr again. Worktrees and branches are not touched."
)
_HELD = "Another program holds it: a second envmgr, a backup or a database browser. End that and try again."
_UNWRITABLE = "Check the owner, the permissions and the health of the disk it is on."

# Primary result codes, https://www.sqlite.org/rescode.html
_KNOWN = {
    sqlite3.SQLITE_FULL: ("the disk of {path} is full", _FULL),
    sqlite3.SQLITE_CORRUPT: ("{path} is damaged", _DAMAGED),
    sqlite3.SQLITE_NOTADB: ("{path} is damaged, or never was a database", _DAMAGED),
    sqlite3.SQLITE_BUSY: ("{path} is locked", _HELD),
    sqlite3.SQLITE_LOCKED: ("{path} is locked", _HELD),
    sqlite3.SQLITE_READONLY: ("{path} cannot be written", _UNWRITABLE),
    sqlite3.SQLITE_CANTOPEN: ("{path} cannot be opened", _UNWRITABLE),
    sqlite3.SQLITE_PERM: ("{path} cannot be opened", _UNWRITABLE),
    sqlite3.SQLITE_IOERR: ("{path} cannot be read or written", _UNWRITABLE),
}


def damaged(path: Path, detail: str) -> Unavailable:
    """The file is there and is not what envmgr wrote."""
    return Unavailable(f"{shown(path)} is damaged: {detail}", hint=_DAMAGED)


def unavailable(error: Exception, path: Path) -> Unavailable:
    """A fresh error for one caller; several may be told of the same failure."""
    if isinstance(error, OSError):
        return Unavailable(f"{shown(path)} cannot be opened: {error.strerror}", hint=_UNWRITABLE)
    # The low byte is the primary code; errors that Python itself raises have none.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    message, hint = _KNOWN.get(code, ("{path} does not work", "Run `envmgr doctor`."))
    return Unavailable(f"{message.format(path=shown(path))} ({error})", hint=hint)


def told(error: Exception, path: Path) -> Exception:
    """What the caller of a failed change or query hears: trouble of the database in envmgr's words, else the error."""
    is_known = getattr(error, "sqlite_errorcode", 0) & 0xFF in _KNOWN
    return unavailable(error, path) if is_known else error


def shown(path: Path) -> str:
    """The path as a person may see it: without the home folder's name."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
