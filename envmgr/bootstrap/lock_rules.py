"""The rules by which keys follow from paths, of each repository."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envmgr.config import settings as configuration
from envmgr.core.derived_keys import Rule, parse_rule
from envmgr.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """What a repository said when its file was like this."""

    looked_at: float
    stamp: tuple[int, ...]
    rules: tuple[Rule, ...]


class LockRules:
    """Rules by repository. A change of the file counts within a second; one that cannot be read leaves those before it."""

    def __init__(self, settings: configuration.Settings, *, fresh_s: float = 1.0) -> None:
        """Files are looked at every `fresh_s` seconds, when somebody asks."""
        self._usual = tuple(map(parse_rule, settings.locks.rules))
        self._fresh_s = fresh_s
        self._known: dict[str, _Known] = {}

    def __call__(self, repo: str) -> Sequence[Rule]:
        """Never raises. May be called by any thread; reads a file when that has changed."""
        now, known = time.monotonic(), self._known.get(repo)
        if known and now - known.looked_at < self._fresh_s:
            return known.rules
        path = Path(repo) / configuration.REPOSITORY
        stamp = _stamp(path)
        if known is None or stamp != known.stamp:
            known = _Known(now, stamp, self._read(path, known.rules if known else self._usual))
            self._known[repo] = known
        known.looked_at = now
        return known.rules

    def _read(self, path: Path, before: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if not path.is_file():
            return self._usual
        try:
            settings = configuration.load(repo=path.parent).settings
        except ConfigError as error:
            _log.warning("rules of locks stay as they were", extra={"why": error.message})
            return before
        return tuple(map(parse_rule, settings.locks.rules))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
