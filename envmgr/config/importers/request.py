"""What a reader of one format is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.findings import Report
from envmgr.config.importers.places import Places
from envmgr.config.importers.variables import Declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One import.

    Attributes:
        files: What to read; more than one only where the format knows that.
        out: The template to fill.
        profiles: Whose services are part of the template for good.
        services: Only these, with what they depend on; empty for all.
    """

    files: tuple[Path, ...]
    places: Places
    report: Report
    declared: Declared
    out: Draft
    profiles: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
