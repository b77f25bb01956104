"""What is kept of agents: snapshots, what undo brings back, the archive."""

from __future__ import annotations

from pydantic import Field

from envmgr.app.shapes import View
from envmgr.app.views.agents import AgentView


class SavedVolumeView(View):
    """The copy of a volume in a snapshot."""

    name: str
    bytes: int


class SnapshotView(View):
    """Saved work of an agent."""

    id: int
    name: str = Field(description="The agent's")
    label: str = Field(default="", description="The snapshot's own name")
    kind: str = Field(
        default="removal",
        description="manual, fork, or what it was taken before: removal, restore, checkpoint",
    )
    reason: str = Field(default="", description="What envmgr was about to do")
    undo: str = Field(default="", description="What `undo` would do with it now")
    repo: str
    branch: str
    ref: str = Field(description="Git ref that holds the files")
    at: float
    restored: bool
    volumes: list[SavedVolumeView] = []
    bytes: int = Field(default=0, description="Of the volumes; files are kept by git")


class SnapshotList(View):
    """Snapshots, oldest first."""

    snapshots: list[SnapshotView]


class RestoredView(View):
    """The agent after a restore, and how to take the restore back."""

    agent: AgentView
    snapshot: SnapshotView
    before: int = Field(
        default=0, description="Number of the snapshot of what was there; 0 when it was taken earlier"
    )


class UndoView(View):
    """What was brought back, or what can be."""

    restored: AgentView | None = None
    snapshots: list[SnapshotView] = Field(
        default=[],
        description="What can be brought back; or the one that was put back into an agent that is there",
    )
    before: int = Field(default=0, description="Number of the snapshot of what was there")


class ArchiveEntryView(View):
    """A session that has ended, and what is kept of it."""

    entry: str = Field(description="AGENT@GENERATION")
    number: int
    name: str
    generation: int
    since_generation: int = Field(
        description="First generation it tells of; those in between were respawned by envmgr"
    )
    at: float
    reason: str = Field(description="Why the session ended")
    template: str
    assistant: str
    repo: str
    branch: str
    ref: str = Field(description="Git ref of the files at the end; empty when they could not be kept")
    pinned: bool
    commits: int
    events: int
    incidents: int
    recordings: list[str] = Field(description="Of what `archive show --logs` has the text")
    missing: list[str] = Field(description="What could not be kept, and why")
    bytes: int
    folder: str = Field(description="Where its files lie")


class ArchiveList(View):
    """Sessions that have ended, oldest first."""

    entries: list[ArchiveEntryView]
    bytes: int


class CommitView(View):
    """A commit made in a session."""

    id: str
    at: float
    author: str
    subject: str
    files: list[str]


class ArchiveShowView(View):
    """One entry with its work, or the text of one of its recordings."""

    entry: ArchiveEntryView
    commits: list[CommitView] = []
    uncommitted: list[str] = []
    log: str | None = None


class ArchiveRemovedView(View):
    """What was deleted."""

    removed: list[str]
    bytes: int
