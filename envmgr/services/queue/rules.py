"""How the queue of this installation goes about its work, and what it needs of others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from envmgr.core.queueing import Obstacle
from envmgr.model.principal import Principal
from envmgr.model.task import Task, TaskSpec
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """From the settings.

    Attributes:
        lease_s: How long a holder may be silent.
        back_off_s, most_back_off_s: The pause after the first failed attempt, and the longest one.
        ageing_s: After how much more waiting a task goes before one that is a step more urgent; 0 for never.
        remember_s: How long an idempotency key is known.
        keep_s: How long tasks that are over are kept.
        most_in_batch: Tasks in one request.
    """

    lease_s: float = 900.0
    back_off_s: float = 30.0
    most_back_off_s: float = 3600.0
    ageing_s: float = 7200.0
    remember_s: float = 86_400.0
    keep_s: float = 30 * 86_400.0
    most_in_batch: int = 1000


class TaskLocks(Protocol):
    """Locks that a task declares, as part of somebody's change."""

    def take(
        self, tx: Transaction, tell: Tell, *, task: Task, spec: TaskSpec, holder: Principal
    ) -> Sequence[Obstacle]:
        """Grant them all and return nothing, or grant none and say what is in the way."""

    def release(self, tx: Transaction, tell: Tell, task: Task) -> None:
        """Give back what was taken with the task."""

    def prolong(self, tx: Transaction, task: Task) -> None:
        """The holder is at it: its locks last as long as its lease."""

    def are_there(self, tx: Transaction, task: Task) -> bool:
        """Whether all that was taken with the task is still held for it."""

    def in_the_way(self, tx: Transaction, *, task: Task, spec: TaskSpec) -> Sequence[Obstacle]:
        """Why `take` would grant nothing to somebody who holds no locks."""


class NoLocks:
    """Grants everything; for queues without locks."""

    def take(
        self, tx: Transaction, tell: Tell, *, task: Task, spec: TaskSpec, holder: Principal
    ) -> Sequence[Obstacle]:
        return ()

    def release(self, tx: Transaction, tell: Tell, task: Task) -> None:
        pass

    def prolong(self, tx: Transaction, task: Task) -> None:
        pass

    def are_there(self, tx: Transaction, task: Task) -> bool:
        return True

    def in_the_way(self, tx: Transaction, *, task: Task, spec: TaskSpec) -> Sequence[Obstacle]:
        return ()


def _none(_: Principal) -> Collection[str]:
    return ()


def _no_life(_: str) -> str:
    return ""


def _never(_: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """What the parts of the queue share.

    Attributes:
        draw: A number from 0 to 1, by chance.
        abilities: What is known of what a principal can do, beside what it says itself.
        life: Names the present run of an agent; empty for everybody else.
        was_stopped: Whether a holder that is gone was sent away: that is not the task's fault.
        secrets: Values that must not be kept, beside what looks like one; may grow.
    """

    rules: QueueRules
    locks: TaskLocks
    draw: Callable[[], float]
    abilities: Callable[[Principal], Collection[str]] = _none
    life: Callable[[str], str] = _no_life
    was_stopped: Callable[[str], bool] = _never
    secrets: Collection[str] = ()
