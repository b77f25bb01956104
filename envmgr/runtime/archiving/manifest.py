"""What an entry of the archive says about itself: `manifest.json` in its folder.

Programs other than envmgr may read it. `format` grows when a field changes its meaning; new fields may come at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envmgr.errors import Unavailable

FORMAT = 1
_NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was written or shown over time, as one gzip file.

    Attributes:
        kind: `log`, or `screen`: the text of a terminal when it ended. More kinds will come.
        subject: Name of the service; `agent` for the assistant's terminal.
        file: Below the entry's folder.
        bytes: Of the unpacked text.
        segments: Where each source begins in the unpacked text: offset, bytes, and name of the file it was in.
        left_out_bytes: What stood before it and was too much.
    """

    kind: str
    subject: str
    file: str
    bytes: int
    segments: tuple[Mapping[str, Any], ...] = ()
    left_out_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A part that could not be kept, and why."""

    part: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Facts of one entry.

    Attributes:
        at: Unix time of the entry.
        generations: First and last one that it tells of: those in between were respawned by envmgr.
        reason: Why the session ended, for people.
        ref: Git ref of the files as they were at the end; empty when they could not be kept.
        head: Commit of the branch.
        bytes: Of all files of the entry; what git keeps is not counted.
    """

    name: str
    agent: str
    generations: tuple[int, int]
    at: float
    reason: str
    template: str
    assistant: str
    repo: str
    branch: str
    base: str = ""
    head: str = ""
    ref: str = ""
    events: int = 0
    commits: int = 0
    incidents: int = 0
    recordings: tuple[Recording, ...] = ()
    missing: tuple[Missing, ...] = ()
    bytes: int = 0
    format: int = FORMAT


def write(folder: Path, manifest: Manifest) -> None:
    """Blocking; the caller makes it durable."""
    fd = os.open(folder / _NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(manifest), indent=1) + "\n")


def read(folder: Path) -> Manifest:
    """Blocking.

    Raises:
        Unavailable: There is none, or it is not what envmgr wrote.
    """
    try:
        found = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        first, last = found.pop("generations")
        recordings = tuple(Recording(**each) for each in found.pop("recordings"))
        missing = tuple(Missing(**each) for each in found.pop("missing"))
        return Manifest(generations=(first, last), recordings=recordings, missing=missing, **found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(
            f"the archive's entry {folder.name} cannot be read ({type(error).__name__})",
            hint="Was it changed by hand? Delete it: `envmgr archive rm`.",
        ) from error
