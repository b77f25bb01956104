"""Call git so that neither the caller's environment nor the user's hooks change what happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from envmgr.aio.blocking import look
from envmgr.drivers.command import Finished, run
from envmgr.errors import Unavailable

# A daemon started from a git hook or alias inherits GIT_DIR and friends, which would redirect every call.
# Kept is only what says how to reach remotes and where configuration lies.
_KEPT = (
    "GIT_SSH",
    "GIT_SSL_",
    "GIT_PROXY_",
    "GIT_LFS_",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
)
_DROPPED = {"LANGUAGE", "LC_ALL"}

# Hooks: our own bookkeeping is not the user's commit; the one hook that belongs to a new worktree, post-checkout, is
# run by checkout.py under its own deadline. Maintenance and fsmonitor would leave daemons that inherit our locks.
_OPTIONS = tuple(
    word
    for setting in (
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "gc.auto=0",
        "maintenance.auto=false",
        "submodule.recurse=false",
    )
    for word in ("-c", setting)
)

_NOTHING_BYTES = 64 * 1024
_DISK_FULL = ("No space left on device", "Disk quota exceeded")


def environment(extra: Mapping[str, str] | None = None, *, language: str | None = "C") -> dict[str, str]:
    """The caller's environment without git's redirections, never asking at a terminal.

    Args:
        extra: Added at the end.
        language: LC_ALL, so that messages can be recognised; None leaves the user's (for hooks).
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if (not name.startswith("GIT_") or name.startswith(_KEPT))
        and (language is None or name not in _DROPPED)
    }
    env["GIT_TERMINAL_PROMPT"] = "0"
    if language is not None:
        env["LC_ALL"] = language
    return env | dict(extra or {})


async def git(
    *args: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    deadline_s: float = 30.0,
    pass_fds: Sequence[int] = (),
    started: Callable[[], None] | None = None,
) -> Finished:
    """Run `git ARGS` without hooks in `cwd` and return its end, whatever the exit status.

    Raises:
        Unavailable: git could not be executed, for example because `cwd` is gone.
        Unobservable: No end within `deadline_s` seconds.
    """
    return await run(
        ("git", *_OPTIONS, *args),
        cwd=cwd,
        env=environment(env),
        input=None if stdin is None else stdin.encode("utf-8", "surrogateescape"),
        deadline_s=deadline_s,
        pass_fds=pass_fds,
        started=started,
    )


async def must(
    *args: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    deadline_s: float = 30.0,
) -> str:
    """Run `git ARGS` and return its output without the last newline.

    Raises:
        Unavailable: git failed; the message carries its words.
    """
    done = await git(*args, cwd=cwd, env=env, stdin=stdin, deadline_s=deadline_s)
    if not done.is_ok:
        raise await failure(f"git {args[0]} failed", done, folder=cwd)
    return done.stdout.removesuffix("\n")


async def failure(what: str, done: Finished, *, folder: Path) -> Unavailable:
    """The error for a failed git call, naming disk and free space when the disk is full."""
    free = await look("file", 5.0, free_bytes, folder)
    # git does not always pass on why a write failed ("unable to write new index file").
    if free < _NOTHING_BYTES or any(sign in done.stderr for sign in _DISK_FULL):
        return disk_full(what, folder, free)
    return Unavailable(f"{what}: {words(done)}", hint="Run `envmgr doctor`.", details={"exit": done.code})


def disk_full(what: str, folder: Path, free: int) -> Unavailable:
    """The error for a full disk."""
    return Unavailable(
        f"{what}: the disk of {shown(folder)} is full ({free // 1024} KiB free)",
        hint="Free space there, or set another place for worktrees.",
        details={"disk": shown(folder), "free_bytes": free},
    )


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written where `folder` is; 0 when it has no inodes left."""
    place = next(place for place in (folder, *folder.parents) if place.exists())
    disk = os.statvfs(place)
    has_inodes = disk.f_files == 0 or disk.f_favail > 0
    return disk.f_bavail * disk.f_frsize if has_inodes else 0


def words(done: Finished) -> str:
    """What git said, on one line, without its prefixes and the home folder."""
    lines = [
        line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("hint:")
    ]
    said = "; ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in lines[-4:])
    return _without_home(said)[:500] or f"exit status {done.code}"


def shown(path: Path) -> str:
    """A path as a person reads it, home abbreviated."""
    return _without_home(str(path))


def _without_home(text: str) -> str:
    home = str(Path.home())
    return text if home == "/" else text.replace(home, "~")
