"""What hangs on a task that is tried again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from envmgr.model.task import LinkKind, Task, task_name
from envmgr.protocols.store import Transaction

_TOLD_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependant:
    """One that waits for it, or was cancelled.

    Attributes:
        is_taken_up: It was cancelled until now.
        waits_for: Names of the tasks that must be over first.
        because_of: Name of the task whose end cancelled it; empty if none did.
    """

    task: Task
    is_taken_up: bool
    waits_for: tuple[str, ...]
    because_of: str


def dependants(tx: Transaction, root: Task, *, taken_up: Sequence[int]) -> tuple[Dependant, ...]:
    """The first hundred: those that were taken up with it, those that were cancelled with it, those that wait for it."""
    left = [number for number, _, _ in tx.tasks.cancelled_behind(root.id)]
    waiting = tx.tasks.waiting_for(root.id, limit=_TOLD_AT_ONCE)
    numbers = list(dict.fromkeys((*taken_up, *left, *waiting)))[:_TOLD_AT_ONCE]
    again = frozenset(taken_up)
    return tuple(one for number in numbers if (one := _dependant(tx, number, again)) is not None)


def _dependant(tx: Transaction, number: int, again: Collection[int]) -> Dependant | None:
    task = tx.tasks.get(number)
    if task is None:
        return None
    ties = tx.tasks.parents(number)
    return Dependant(
        task=task,
        is_taken_up=number in again,
        waits_for=tuple(p.name for p, link in ties if link.kind is LinkKind.BLOCKS and not link.is_met),
        because_of=task_name(task.cause) if task.cause else "",
    )
