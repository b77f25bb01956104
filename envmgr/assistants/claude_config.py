"""Edit Claude Code's own configuration file, which all of a user's sessions share and rewrite.

Every change is made under the lock that Claude Code itself takes, a folder `<file>.lock` (npm's proper-lockfile: made
with mkdir, touched every 5 s, stale after 10 s), to the content as it is then, and put in place by a rename. So no side
loses what the other wrote. Measured with Claude Code 2.1.328.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from envmgr.errors import ConfigError, Unavailable

# Claude Code's file: we know some of its keys, and keep whatever else is there.
Config: TypeAlias = dict[str, Any]

_STALE_S = 10.0
_WAIT_S = 15.0
_POLL_S = 0.005
_KEY_CHARS = 20


def config_file(env: Mapping[str, str]) -> Path:
    """Where Claude Code keeps its state when started with this environment."""
    home = Path(env.get("HOME") or Path.home())
    folder = env.get("CLAUDE_CONFIG_DIR")
    old = Path(folder or home / ".claude") / ".config.json"
    # The old place wins as long as there is a file.
    return old if old.exists() else Path(folder or home) / ".claude.json"


def admit(file: Path, worktree: Path, *, api_key: str | None) -> None:
    """Answer the first-run questions for one worktree: onboarding, trust, and use of the API key.

    A key the person has rejected stays rejected.

    Raises:
        ConfigError: The file is not what Claude Code writes; it is left as it is.
        Unavailable: Somebody keeps it locked.
    """

    def change(config: Config) -> None:
        config["hasCompletedOnboarding"] = True
        _object(_object(config, "projects"), _key(worktree))["hasTrustDialogAccepted"] = True
        if api_key:
            answers = _object(config, "customApiKeyResponses")
            approved, rejected = _list(answers, "approved"), _list(answers, "rejected")
            if api_key[-_KEY_CHARS:] not in [*approved, *rejected]:
                approved.append(api_key[-_KEY_CHARS:])

    _edit(file, change)


def forget(file: Path, worktree: Path) -> None:
    """Remove the worktree's entry; no file and no entry are fine. Raises as `admit`."""
    if file.exists():
        _edit(file, lambda config: _object(config, "projects").pop(_key(worktree), None))


def _key(worktree: Path) -> str:
    return unicodedata.normalize("NFC", str(worktree))


class _OddShape(ValueError):
    """Valid JSON, but not of the shape that Claude Code writes."""


def _object(whole: Config, name: str) -> Config:
    part = whole.setdefault(name, {})
    if not isinstance(part, dict):
        raise _OddShape(f"its {name} is not an object")
    return part


def _list(whole: Config, name: str) -> list[Any]:
    part = whole.setdefault(name, [])
    if not isinstance(part, list):
        raise _OddShape(f"its {name} is not a list")
    return part


def _edit(file: Path, change: Callable[[Config], object]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file):
            # A dotfile may be a link into somebody's repository: the file behind it is replaced, not the link.
            _rewrite(file.resolve(), change)
    except ValueError as error:
        raise ConfigError(
            f"Claude Code's {file.name} cannot be edited: {error}",
            hint="Start `claude` once and let it repair or reset the file, or restore one of its backups.",
            details={"file": str(file)},
        ) from error
    except OSError as error:
        raise Unavailable(
            f"Claude Code's {file.name} cannot be edited: {error.strerror}",
            hint="Its folder must be writable and have space.",
            details={"file": str(file)},
        ) from error


def _rewrite(file: Path, change: Callable[[Config], object]) -> None:
    config = json.loads(file.read_text(encoding="utf-8-sig")) if file.exists() else {}
    if not isinstance(config, dict):
        raise _OddShape("it is not an object")
    before = json.dumps(config)
    change(config)
    if json.dumps(config) != before:
        _replace(file, json.dumps(config, indent=2))


def _replace(file: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            if file.exists():
                os.fchmod(descriptor, file.stat().st_mode & 0o777)
            new.flush()
            os.fsync(descriptor)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    lock = file.with_name(f"{file.name}.lock")
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            lock.mkdir()
            break
        except FileExistsError:
            _break_if_stale(lock)
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Claude Code's {file.name} stays locked",
                hint=f"If no Claude Code is running, remove the folder {lock.name} beside it.",
                details={"lock": str(lock)},
            )
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            lock.rmdir()


def _break_if_stale(lock: Path) -> None:
    with suppress(OSError):  # released, or broken by somebody else, in the meantime
        if time.time() - lock.stat().st_mtime > _STALE_S:
            lock.rmdir()
