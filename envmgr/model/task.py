"""A piece of work that somebody submits and somebody else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

URGENT, LEAST_URGENT = 1, 10
"""Ends of the priorities: the smaller number goes first."""
CANCELLED_BY_ORCHESTRATOR = "cancelled_by_orchestrator"
"""Error code with which whoever submitted a task calls it off."""


class TaskStatus(StrEnum):
    """Where a task is."""

    BLOCKED = "blocked"
    """Waits for other tasks."""
    SCHEDULED = "scheduled"
    """Waits for a moment: it was asked for, or is the back-off after a failure."""
    READY = "ready"
    CLAIMED = "claimed"
    """Somebody has it and was not heard of since."""
    RUNNING = "running"
    VERIFYING = "verifying"
    """Its work is done, and is being checked."""
    PAUSED = "paused"
    """It went over its budget; a person decides."""
    DONE = "done"
    FAILED = "failed"
    """It was said that it cannot be done."""
    CANCELLED = "cancelled"
    DEAD = "dead"
    """Every attempt failed."""


WAITING = frozenset({TaskStatus.BLOCKED, TaskStatus.SCHEDULED, TaskStatus.READY})
LEASED = frozenset({TaskStatus.CLAIMED, TaskStatus.RUNNING, TaskStatus.VERIFYING})
FINAL = frozenset({TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.DEAD})


class Dependents(StrEnum):
    """What a task that does not end well means for those that wait for it."""

    BLOCK = "block"
    """They go on waiting: it may be retried."""
    CANCEL = "cancel"
    """They are cancelled, and so are those that wait for them."""
    CONTINUE = "continue"
    """They need not wait any longer."""


class LinkKind(StrEnum):
    """How a task is tied to an earlier one."""

    BLOCKS = "blocks"
    """The only kind that anybody waits for."""
    PARENT = "parent"
    DISCOVERED_FROM = "discovered_from"
    RELATED = "related"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an attempt used, or may use at most; 0 in a budget is no limit.

    Attributes:
        cost: Money, in whatever currency the budget is meant.
    """

    tokens: int = 0
    cost: float = 0.0
    wall_s: float = 0.0
    tool_calls: int = 0
    file_changes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What was submitted; it never changes.

    Attributes:
        locks: Targets that whoever claims the task gets locked with it.
        capabilities: What its doer must be able to.
        dependents: What its failure means for those that wait for it.
    """

    type: str
    description: str
    input_data: Mapping[str, object] = field(default_factory=dict)
    priority: int = 5
    capabilities: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    max_attempts: int = 3
    dependents: Dependents = Dependents.BLOCK
    budget: Usage = Usage()
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task before the store numbers it.

    Attributes:
        links: Earlier tasks, by number.
        unmet: How many of those that it waits for are not over.
        run_at: Not before this moment; `due_at` is the same while nothing else keeps it.
        run_at, due_at, deadline_at, submitted_at: Steady time.
        rank: Place in the queue: the smallest goes first.
        submitted_by: Id of a principal.
    """

    repo: str
    spec: TaskSpec
    status: TaskStatus
    unmet: int
    rank: float
    run_at: float | None
    due_at: float | None
    deadline_at: float | None
    submitted_at: float
    submitted_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is known of a task; the rest of what was submitted is its spec.

    Attributes:
        unmet: How many tasks it still waits for.
        run_at: Not before this moment, as was asked for.
        due_at: When it may begin, while it is scheduled.
        deadline_at: When it should have been done; None for never.
        failures: Attempts that count against `max_attempts`.
        attempts: All attempts ever; the number of the last one.
        lease: Token of the last attempt; 0 before the first one. Over the whole store they only grow.
        lease_until: Until when its holder may be silent; None unless it is leased.
        holder: Id of the principal that has it, or had it last.
        life: Which run of an agent claimed it, `<generation>/<pid>`; empty for people and programs.
        cause: Number of the task whose failure cancelled this one; 0 if none did.
        All moments are steady time.
    """

    id: int
    repo: str
    type: str
    priority: int
    status: TaskStatus
    unmet: int = 0
    rank: float = 0.0
    run_at: float | None = None
    due_at: float | None = None
    deadline_at: float | None = None
    failures: int = 0
    attempts: int = 0
    max_attempts: int = 3
    dependents: Dependents = Dependents.BLOCK
    has_locks: bool = False
    lease: int = 0
    lease_until: float | None = None
    holder: str = ""
    holder_name: str = ""
    session: str = ""
    life: str = ""
    cause: int = 0
    error_code: str = ""
    error_message: str = ""
    submitted_at: float = 0.0
    submitted_by: str = ""
    claimed_at: float | None = None
    ended_at: float | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return task_name(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One holder's try.

    Attributes:
        lease: The token that was given out for it.
        number: Counted per task, from 1.
        outcome: `running`, or how it ended: a final status, `expired`, `abandoned`, `retried` or `over_budget`.
        ended_at: None while it goes on; all moments are steady time.
    """

    lease: int
    task: int
    number: int
    holder: str
    holder_name: str
    session: str
    began_at: float
    ended_at: float | None = None
    outcome: str = "running"
    error_code: str = ""
    error_message: str = ""
    usage: Usage = Usage()
    result: Mapping[str, object] | None = None


def task_name(number: int) -> str:
    """`t-000123`: as people write it, and sortable as text up to a million."""
    return f"t-{number:06d}"


def task_number(name: str) -> int:
    """The number in a name; 0 if it is none."""
    digits = name.removeprefix("t-")
    is_one = digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if is_one else 0
