"""Settings of observed changes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from envmgr.config.fields import Strict


class Changes(Strict):
    """What agents write, as it is seen."""

    observe: bool = True
    """Whether the files of agents and main checkouts are watched, so that changes are told and violations of locks are found."""
    quiet_s: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    """Seconds without a change that end a bunch of changes."""
    keep_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24.0
    """Hours for which the newest change of each file is kept."""
    keep_files: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Files of one agent of which it is kept."""
    most_folders: Annotated[int, Field(ge=1)] = 200_000
    """Folders that are watched at the same time, at most half of what the kernel allows; checkouts beyond that are looked at every 2 s."""
