"""Failures and what was done about them: symptoms, their classes, rungs, and the record of an incident."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from envmgr.model.ids import AgentId


class Rung(IntEnum):
    """The measures of the recovery ladder, mildest first."""

    WAIT = 0
    SERVICE = 1
    SESSION = 2
    REALLOCATE = 3
    RESPAWN = 4
    PERSON = 5

    @property
    def word(self) -> str:
        """As people name it."""
        return "realloc" if self is Rung.REALLOCATE else self.name.lower()


class FailureClass(StrEnum):
    """Why something failed, as far as the evidence tells; decides where the ladder is entered."""

    CRASH = "crash"
    HANG = "hang"
    DEPENDENCY = "dependency"
    MEMORY = "memory"
    DISK = "disk"
    DESCRIPTORS = "descriptors"
    """File descriptors, processes, or inotify watches: the machine has some, the set limit does not."""
    PORT_CONFLICT = "port_conflict"
    NETWORK = "network"
    ENGINE = "engine"
    CONFIGURATION = "configuration"
    SESSION = "session"
    ASSISTANT = "assistant"
    WORKSPACE = "workspace"
    HOST = "host"
    UNKNOWN = "unknown"


class Part(StrEnum):
    """Which part of an agent a symptom is about."""

    SERVICE = "service"
    ASSISTANT = "assistant"
    SESSION = "session"
    WORKSPACE = "workspace"
    ENGINE = "engine"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Something that was seen.

    Attributes:
        source: Where: `exit`, `log`, `probe`, `engine`, `kernel`, `port`, `disk`, `hook`, `screen`, ...
        text: What, for people; secrets masked.
        at: Unix time.
    """

    source: str
    text: str
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """One failure as it was noticed, with everything that tells its class.

    Attributes:
        subject: Name of the unit; empty for the other parts.
        words: One sentence for people.
        at: Steady time. It reads like Unix time, and no setting of the wall clock puts it before a measure that came first.
        exit_code, exit_signal: How a process ended; both None when nothing ended, or nobody knows.
        error: Why it could not be executed or configured, such as "No such file or directory: npm".
        out_of_memory: The kernel or the engine killed it at its memory limit.
        over_limit: Why envmgr ended it at a limit.
        is_hang: It lives and does not answer (liveness).
        foreign: Who else listens on its port; empty: nobody, or unknown.
        output: Its last lines, newest last, secrets masked; at most 200.
        waits_for: The dependency that was not ready when it failed.
        is_mid_edit: Its source changed within the last minute.
        is_exhausted: The rung below has been tried as often as it may: start above it.
        survivors: What stands in its way and can be neither adopted nor ended: nothing may be started beside it.
        disk_is_full: The file system of the worktree or of the state folder has no room or no inodes left.
        host_is_strained: Overload, or the machine has just woken up.
    """

    part: Part
    words: str
    at: float
    subject: str = ""
    exit_code: int | None = None
    exit_signal: str | None = None
    error: str = ""
    out_of_memory: bool = False
    over_limit: str = ""
    is_hang: bool = False
    foreign: str = ""
    output: tuple[str, ...] = ()
    waits_for: str = ""
    is_mid_edit: bool = False
    is_exhausted: bool = False
    survivors: tuple[str, ...] = ()
    disk_is_full: bool = False
    host_is_strained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a symptom was taken for.

    Attributes:
        entry: The mildest rung that can help.
        confidence: 0 to 1.
        evidence: Strongest first; never empty.
        fingerprint: Equal for failures that look the same (numbers and paths of a launch removed).
        advice: What a person can do; empty when nothing is known.
    """

    failure: FailureClass
    entry: Rung
    confidence: float
    evidence: tuple[Evidence, ...]
    fingerprint: str
    advice: str = ""


class ClimbOutcome(StrEnum):
    """How a measure ended."""

    RUNNING = "running"
    HELD = "held"
    FAILED = "failed"
    GIVEN_UP = "given_up"
    """A stop, or a request of a person, came first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """One measure that was taken.

    Attributes:
        at, ended_at: Unix times; the second is None while it runs.
        because: Why this rung, and why none below it.
        result: What came of it, for people.
        is_unsafe: It was not taken, for the work could not be saved first.
    """

    rung: Rung
    at: float
    because: str
    outcome: ClimbOutcome = ClimbOutcome.RUNNING
    ended_at: float | None = None
    result: str = ""
    is_unsafe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One failure and all that was done about it. Its key is (agent, part, subject, class, fingerprint).

    Attributes:
        id: The store's; 0 before it is stored.
        name: Of the agent when it began; incidents outlive agents.
        template: Name of the agent's template, for patterns over agents.
        symptoms: How often it was seen.
        closed_at: Unix time; None while open.
        bundle: File name of the context bundle below `Layout.incidents`; empty when there is none.
    """

    agent: AgentId
    name: str
    generation: int
    part: Part
    subject: str
    words: str
    diagnosis: Diagnosis
    opened_at: float
    id: int = 0
    template: str = ""
    symptoms: int = 1
    seen_at: float = 0.0
    closed_at: float | None = None
    climbs: tuple[Climb, ...] = ()
    bundle: str = ""
