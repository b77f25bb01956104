"""Durable state: one writer, group commit, typed records.

A change is a function of a `Transaction`; it runs in the store's writer thread, inside its own savepoint,
possibly in one commit with the changes of others, and is durable (fsync) when `write` returns. It must not
block, wait, or keep the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from envmgr.model.agent import AgentState
from envmgr.model.effect import Effect
from envmgr.model.event import Event, NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.incident import Incident
from envmgr.model.lease import PortLease, StepRecord, Tombstone
from envmgr.model.spec import AgentSpec
from envmgr.protocols.audit import Audit
from envmgr.protocols.changes import ChangeRows
from envmgr.protocols.handoffs import Handoffs
from envmgr.protocols.keys import Keys
from envmgr.protocols.locks import LockRows
from envmgr.protocols.memories import Memories
from envmgr.protocols.sessions import Sessions
from envmgr.protocols.tasks import Tasks

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """An agent as stored. `version` grows with each save; `created_at` is Unix time."""

    state: AgentState
    spec: AgentSpec
    version: int = 0
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedEffect:
    """An effect that was committed and is not yet settled. `id` is the store's."""

    id: int
    agent: AgentId
    effect: Effect
    cause: str = ""


class SnapshotKind(StrEnum):
    """Why a snapshot was taken."""

    REMOVAL = "removal"
    """Before the agent was removed; for `undo`."""
    MANUAL = "manual"
    """Somebody asked for it."""
    FORK = "fork"
    """Forks were made from it."""
    RESTORE = "restore"
    """Before another one was restored."""
    CHECKPOINT = "checkpoint"
    """Before envmgr did something to the agent that might cost work."""
    ARCHIVE = "archive"
    """The end of a session, kept with its logs; `Snapshot.folder` is below `Layout.archive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedVolume:
    """The content of a volume, as a tar file in the snapshot's folder.

    Attributes:
        name: In the template.
        image: What opened it, in the engine; the agent's spec may name none.
    """

    name: str
    file: str
    bytes: int
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Saved work of an agent, and what is needed to bring it back.

    Attributes:
        ref: Git ref in `repo` that keeps the commit alive.
        head: Commit the branch pointed to.
        restored: Whether `undo` has brought it back.
        label: Name given by a person; unique among the agent's snapshots.
        folder: Holds the volumes' files, below `Layout.snapshots`; empty when there are none.
        reason: What was about to be done.
        is_pinned: Kept until a person removes it.
    """

    id: int
    agent: AgentId
    name: str
    repo: str
    ref: str
    branch: str
    head: str
    path: str
    at: float
    spec: AgentSpec
    restored: bool = False
    kind: SnapshotKind = SnapshotKind.REMOVAL
    label: str = ""
    folder: str = ""
    volumes: tuple[SavedVolume, ...] = ()
    reason: str = ""
    is_pinned: bool = False

    @property
    def generation(self) -> int:
        """Of the agent when it was taken."""
        return int(self.ref.rpartition("/")[2].partition("-")[0])

    @property
    def can_return(self) -> bool:
        """Whether it is all that is left of an agent, and `undo` brings that back."""
        return self.kind is SnapshotKind.REMOVAL and not self.restored

    @property
    def bytes(self) -> int:
        """Of all volumes; the files are git's matter."""
        return sum(volume.bytes for volume in self.volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How full the database's file is; `can_shrink`: whether free pages can be given back while others write."""

    pages: int
    free_pages: int
    page_bytes: int
    can_shrink: bool


class Transaction(Protocol):
    """Reads and writes of one change. Everything it does is kept, or none of it."""

    @property
    def tasks(self) -> Tasks:
        """The work queue."""

    @property
    def handoffs(self) -> Handoffs:
        """What sessions leave to the next ones."""

    @property
    def sessions(self) -> Sessions:
        """Who works beside whom."""

    @property
    def memories(self) -> Memories:
        """What agents remember for each other."""

    @property
    def audit(self) -> Audit:
        """The audit trail."""

    @property
    def changes(self) -> ChangeRows:
        """What agents wrote lately."""

    @property
    def locks(self) -> LockRows:
        """Locks that are held."""

    @property
    def keys(self) -> Keys:
        """Keys of agents and programs."""

    def agents(self) -> Sequence[AgentRecord]:
        """All agents, oldest first."""

    def agent(self, agent: AgentId) -> AgentRecord | None:
        """One agent."""

    def insert_agent(self, record: AgentRecord) -> None:
        """Raises Conflict if the id or the name is taken."""

    def save_state(self, state: AgentState, *, expect: int) -> int:
        """Write a new state if the stored version is `expect`; returns the new version.

        Raises:
            StaleState: Somebody saved in between, or the agent is gone.
        """

    def save_spec(self, agent: AgentId, spec: AgentSpec) -> None:
        """Replace the spec (a new generation may bring new parameters)."""

    def delete_agent(self, agent: AgentId) -> None:
        """Remove the agent with its journal, leases and effects; its events stay."""

    def append(self, event: NewEvent, *, at: float) -> int:
        """Add an event; returns its sequence number, which only grows."""

    def events(self, *, after: int = 0, agent: str = "", limit: int = 1000) -> Sequence[Event]:
        """Events with a number above `after`, oldest first."""

    def last_events(self, *, agent: str, limit: int) -> Sequence[Event]:
        """The newest events of an agent, oldest first."""

    def prune(self, *, before_at: float, keep: int, at_most: int | None = None) -> int:
        """Drop events older than `before_at` except the newest `keep` (at least one), oldest first; returns how many.

        Args:
            at_most: So many at once, so that others need not wait for long.
        """

    def stale(self, *, before_at: float, keep: int) -> int:
        """How many `prune` would drop."""

    def owe(self, agent: AgentId, effect: Effect, *, cause: str = "") -> int:
        """Record an effect as owed; returns its id."""

    def settle(self, effect: int) -> None:
        """The effect is done; settling twice is harmless."""

    def owed(self) -> Sequence[OwedEffect]:
        """Effects not yet settled, oldest first."""

    def journal(self, agent: AgentId, generation: int, record: StepRecord) -> None:
        """Write the trail of one step; replaces the earlier record of the same step."""

    def trail(self, agent: AgentId, generation: int) -> Sequence[StepRecord]:
        """The journal of one generation in the order in which the steps were started."""

    def leases(self, agent: AgentId | None = None) -> Sequence[PortLease]:
        """Port leases, of one agent or of all."""

    def save_leases(self, leases: Sequence[PortLease]) -> None:
        """Insert or replace by (agent, service, name).

        Raises:
            Conflict: A port is held by another agent.
        """

    def release_ports(self, agent: AgentId, *, forget: bool = False) -> None:
        """Mark the agent's leases as not held; `forget` drops the memory of the numbers too."""

    def bury(self, tombstone: Tombstone) -> None:
        """Record a name that must not exist; replaces one of the same kind and name."""

    def tombstones(self) -> Sequence[Tombstone]:
        """All of them."""

    def exhume(self, kind: str, name: str) -> None:
        """The name is surely gone: drop its tombstone."""

    def add_snapshot(self, snapshot: Snapshot) -> int:
        """Record saved work (its `id` is ignored); returns the id."""

    def snapshots(self) -> Sequence[Snapshot]:
        """All snapshots, oldest first."""

    def mark_restored(self, snapshot: int) -> None:
        """`undo` brought it back."""

    def replace_snapshot(self, snapshot: Snapshot) -> None:
        """Store other facts about a snapshot that exists; `restored` is left as it is."""

    def delete_snapshot(self, snapshot: int) -> None:
        """Forget it; forgetting twice is harmless."""

    def add_incident(self, incident: Incident) -> int:
        """Record a new one (its `id` is ignored); returns the id."""

    def replace_incident(self, incident: Incident) -> None:
        """Store what is known of it now."""

    def incident(self, incident: int) -> Incident | None:
        """One of them."""

    def incidents(
        self, *, agent: str = "", open_only: bool = False, after_at: float = 0.0, limit: int = 1000
    ) -> Sequence[Incident]:
        """Those seen last at or after `after_at`, newest first; of an agent (by id or name), or of all, removed ones too."""

    def delete_incident(self, incident: int) -> None:
        """Forget it; forgetting twice is harmless."""

    def room(self) -> Room:
        """How full the file is."""

    def shrink(self, *, pages: int) -> int:
        """Give at most so many free pages back to the disk; returns how many are left."""

    def get(self, key: str) -> str | None:
        """A small setting of this installation, such as the instance id."""

    def put(self, key: str, value: str) -> None:
        """Set it."""

    def drop(self, key: str) -> None:
        """Forget it; forgetting twice is harmless."""

    def under(self, prefix: str) -> Mapping[str, str]:
        """All small settings whose keys begin like that, in the order of their keys."""


class Store(Protocol):
    """Opens at start-up, refuses a database from a newer envmgr, survives SIGKILL at any instruction."""

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Run `change` and return its result once it is durable.

        An exception from `change` undoes that change alone and is raised here. Cancelling the caller does
        not undo a change that the writer has taken.

        Raises:
            Unavailable: The disk is full or the database cannot be written; nothing was changed.
        """

    async def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a query on a reading connection; sees everything committed before the call."""

    async def search(self, query: Callable[[Transaction], T]) -> T:
        """As `read`, for queries that take long: they keep none of the others waiting."""

    async def close(self) -> None:
        """Finish the writes taken, then close. Later calls raise Unavailable."""


JsonObject = Mapping[str, object]
