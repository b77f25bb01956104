"""Things on this host that agents need: what was seen of them, whose they are, and what is to become of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from envmgr.model.ids import AgentId
from envmgr.model.lease import PortLease


class Kind(StrEnum):
    """Sorts of things, in the order in which leftovers are removed."""

    PROCESS = "process"
    CONTAINER = "container"
    NETWORK = "network"
    PORT = "port"
    SESSION = "session"
    IMAGE = "image"
    VOLUME = "volume"
    TEMP = "temp"
    WORKTREE = "worktree"


class Verdict(StrEnum):
    """What a thing is taken for. Only an orphan is ever touched."""

    TRACKED = "tracked"
    """Known, and as it should be."""
    YOUNG = "young"
    """Whoever makes it may not have written it down yet."""
    ORPHAN = "orphan"
    """Ours, proven, and of nobody."""
    FOREIGN = "foreign"
    """Of another installation, of another user, or of nobody known."""
    UNKNOWN = "unknown"
    """It cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One thing as it was seen in the system itself, before any record is asked.

    Attributes:
        key: The very same thing has it at the next look, and nothing else ever: pid and start, id, path.
        name: For people; of a process its pid and its command line.
        instance: The installation that its tag names; empty when it has none.
        agent: The agent that its tag names.
        generation: None when its sort outlives generations, or the tag does not say.
        age_s: None when nobody knows when it was made.
        size_bytes: What its removal gives back; None when that was not counted.
        outlives: It stays as long as its agent is known, running or not.
        proof: What ties it to the agent beside the tag; empty: nothing does. Only processes need one.
        belongs: Why it is as it should be, whatever its agent does, such as `envmgr.keep=true`.
        unsure: Why nothing can be said about it.
        holds: What would be lost with it: then only a person removes it.
        advice: The command for such a person.
    """

    kind: Kind
    key: str
    name: str
    instance: str = ""
    agent: str = ""
    generation: int | None = None
    age_s: float | None = None
    size_bytes: int | None = None
    outlives: bool = False
    proof: str = ""
    belongs: str = ""
    unsure: str = ""
    holds: str = ""
    advice: str = ""


class Standing(StrEnum):
    """What a known owner may have."""

    BUSY = "busy"
    """It is being started, stopped or removed, or a person looks into it: everything of it is left alone."""
    UP = "up"
    """Things of its present generation, and what outlives generations."""
    DOWN = "down"
    """Only what outlives generations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An agent or a shared service, as recorded."""

    id: AgentId
    name: str
    standing: Standing
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What this installation knows, read after the things were looked at.

    Attributes:
        past: Ids of agents that were ours and are no more.
        leases: All port leases.
    """

    instance: str
    owners: Mapping[str, Owner]
    past: frozenset[str] = frozenset()
    leases: tuple[PortLease, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A thing and its verdict.

    Attributes:
        owner: Name of its agent, or its id when the agent is no more.
        reason: One sentence.
        is_quarantined: An orphan that only a person removes: `sighting.advice` says how.
    """

    sighting: Sighting
    verdict: Verdict
    reason: str
    owner: str = ""
    is_quarantined: bool = False

    @property
    def is_removable(self) -> bool:
        """Whether it may be removed without a person, once it was seen twice."""
        return self.verdict is Verdict.ORPHAN and not self.is_quarantined
