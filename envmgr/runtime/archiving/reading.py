"""Read what an entry holds. Everything here blocks."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envmgr.errors import Unavailable


def text_of(folder: Path, file: str, *, lines: int) -> str:
    """The last lines of a recording; all for 0.

    Raises:
        Unavailable: It cannot be read; it was changed by hand, or the disk is damaged.
    """
    try:
        with gzip.open(folder / file, "rt", encoding="utf-8", errors="replace", newline="") as text:
            return "".join(deque(text, maxlen=lines or None))
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(folder, file, error) from error


def work_of(folder: Path) -> Mapping[str, Any]:
    """Branch, commits and uncommitted files.

    Raises:
        Unavailable: It cannot be read.
    """
    try:
        found: Mapping[str, Any] = json.loads((folder / "work.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder, "work.json", error) from error
    return found


def _damaged(folder: Path, file: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"{file} of the archive's entry {folder.name} cannot be read ({type(error).__name__})",
        hint="Was it changed by hand? `envmgr archive show` tells what else there is.",
    )
