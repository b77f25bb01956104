"""What the store knows of tasks. The rules are in `core.queueing`; here is only what can be asked and written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from envmgr.model.task import Attempt, LinkKind, NewTask, Task, TaskSpec, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A tie between two tasks, by number; `is_met`: the child need not wait for it any more."""

    child: int
    parent: int
    kind: LinkKind
    is_met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """The answer that was given to an earlier request with the same key."""

    digest: str
    answer: str


class Tasks(Protocol):
    """Reads and writes of tasks within one change."""

    def add(self, task: NewTask) -> int:
        """Record it; returns its number."""

    def link(self, links: Sequence[Link]) -> None:
        """Tie tasks together; a tie that is there already is left as it is."""

    def get(self, task: int) -> Task | None:
        """One of them."""

    def spec(self, task: int) -> TaskSpec:
        """What was submitted; the task must exist."""

    def save(self, task: Task) -> None:
        """Write what changes of a task: all but repository, type, priority and when it was submitted."""

    def next(self, repo: str, *, capabilities: Collection[str], types: Collection[str]) -> Task | None:
        """The first of `ready`, in one statement."""

    def ready(
        self,
        repo: str,
        *,
        capabilities: Collection[str],
        types: Collection[str],
        after: tuple[float, int] | None = None,
    ) -> Iterator[Task]:
        """Those that somebody with these capabilities may claim, in order; read lazily, so take what you need.

        Args:
            types: Wanted ones; empty for any.
            after: Rank and number of one that was seen; begin behind it.
        """

    def parents(self, task: int) -> Sequence[tuple[Task, Link]]:
        """What it is tied to, the earlier ones, oldest first."""

    def children(self, task: int, *, limit: int = -1) -> Sequence[Task]:
        """Who waits, or waited, for it, oldest first; at most so many, all when it is negative."""

    def meet(self, parent: int) -> Sequence[tuple[int, float | None]]:
        """Nobody needs to wait for it any more.

        Returns:
            Number and `run_at` of the blocked ones that wait for nothing now; their status is as it was.
        """

    def wake(self, tasks: Collection[int]) -> None:
        """Set the status of all of these to ready."""

    def cancel_behind(self, task: int, *, code: str, words: str, at: float) -> Sequence[int]:
        """Cancel whoever waits for it, directly or not; it is the cause. Returns them, oldest first."""

    def cancelled_behind(self, task: int) -> Sequence[tuple[int, int, float | None]]:
        """Those that were cancelled because of it: number, for how many it waits, and when it is to begin."""

    def waiting_for(self, task: int, *, limit: int) -> Sequence[int]:
        """Those that would be blocked by it now, or are cancelled and would be, oldest first; only directly."""

    def revive(self, tasks: Collection[int], status: TaskStatus) -> None:
        """As if they had never ended, or been tried."""

    def leave_untold(self, task: int) -> None:
        """It is called off, and whoever has it does not know."""

    def untold(self, holder: str) -> Sequence[Task]:
        """Those that they had and of which they do not know that they are called off, oldest first."""

    def tell(self, tasks: Collection[int]) -> None:
        """They know now, or need not."""

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Scheduled ones whose moment has come."""

    def overdue(self, now: float, *, limit: int) -> Sequence[Task]:
        """Leased ones whose holder was silent for too long."""

    def late(self, now: float, *, limit: int) -> Sequence[Task]:
        """Waiting ones whose deadline has passed."""

    def is_any_due(self, now: float) -> bool:
        """Whether `due`, `overdue` or `late` would find any."""

    def leased(self, *, holder: str = "") -> Sequence[Task]:
        """Leased ones, of one holder or of all."""

    def page(
        self,
        repo: str,
        *,
        statuses: Collection[TaskStatus] = (),
        kind: str = "",
        holder: str = "",
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[Task]:
        """The newest first; `kind`: of task; `after`: older than that number, if given."""

    def counts(self, repo: str) -> Mapping[TaskStatus, int]:
        """How many there are of each status."""

    def links(self, tasks: Collection[int]) -> Sequence[Link]:
        """The ties of which both ends are among these."""

    def begin(self, attempt: Attempt) -> int:
        """Record an attempt (its `lease` is ignored); returns the token of its lease."""

    def attempt(self, lease: int) -> Attempt | None:
        """One of them."""

    def attempts(self, task: int) -> Sequence[Attempt]:
        """Of a task, the first one first."""

    def save_attempt(self, attempt: Attempt) -> None:
        """Write what is known of it now."""

    def past(self, repo: str, by: str, key: str) -> PastRequest | None:
        """What was answered to that principal's request with the key."""

    def remember(self, repo: str, by: str, key: str, request: PastRequest, *, at: float) -> None:
        """Keep an answer."""

    def forget(self, *, before_at: float, limit: int) -> int:
        """Drop answers that are older; returns how many."""

    def prune(self, *, before_at: float, limit: int) -> int:
        """Drop tasks that ended before that and that nobody waits for; returns how many."""
