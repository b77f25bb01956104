"""See what is in the queue. Every answer is as of now: what time has brought is done before anybody looks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from envmgr.core.queueing import Obstacle, obstacles, unfit
from envmgr.errors import NotFound
from envmgr.model.task import FINAL, Attempt, LinkKind, Task, TaskSpec, TaskStatus, task_number
from envmgr.protocols.store import Transaction
from envmgr.protocols.tasks import Link
from envmgr.services.queue.rules import TaskLocks

_MOST_CHILDREN = 100
_OPEN = tuple(status for status in TaskStatus if status not in FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All of a task, and the first hundred of those that wait for it."""

    task: Task
    spec: TaskSpec
    parents: Sequence[tuple[Task, Link]]
    children: Sequence[Task]
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a task is not being done.

    Attributes:
        in_the_way: Empty exactly if somebody with its capabilities gets it when they ask.
        unfit: Why this asker would not get it then.
    """

    task: Task
    in_the_way: Sequence[Obstacle]
    unfit: Sequence[Obstacle]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some tasks with their specs, newest first.

    Attributes:
        next: Number after which the next page begins; 0 at the end.
    """

    tasks: Sequence[tuple[Task, TaskSpec]]
    counts: Mapping[TaskStatus, int]
    next: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Tasks and their ties."""

    tasks: Sequence[tuple[Task, TaskSpec]]
    links: Sequence[Link]
    is_cut: bool


def find(tx: Transaction, repo: str, name: str) -> Task:
    """A task of that repository. Raises NotFound."""
    task = tx.tasks.get(task_number(name))
    if task is None or task.repo != repo:
        raise NotFound(f"no task {name}", hint="See `envmgr task ls`.", details={"reason": "task_not_found"})
    return task


def see(tx: Transaction, repo: str, name: str) -> Seen:
    """All of one task. Raises NotFound."""
    task = find(tx, repo, name)
    return Seen(
        task=task,
        spec=tx.tasks.spec(task.id),
        parents=tx.tasks.parents(task.id),
        children=tx.tasks.children(task.id, limit=_MOST_CHILDREN),
        attempts=tx.tasks.attempts(task.id),
    )


def why(tx: Transaction, repo: str, name: str, *, locks: TaskLocks, capabilities: Collection[str]) -> Why:
    """What keeps a task from being done. Raises NotFound."""
    task = find(tx, repo, name)
    spec = tx.tasks.spec(task.id)
    unmet = [p for p, link in tx.tasks.parents(task.id) if link.kind is LinkKind.BLOCKS and not link.is_met]
    found: Sequence[Obstacle] = obstacles(task, unmet)
    if task.status is TaskStatus.READY and task.has_locks:
        found = locks.in_the_way(tx, task=task, spec=spec)
    return Why(task=task, in_the_way=found, unfit=unfit(spec, capabilities=capabilities, types=()))


def page(
    tx: Transaction,
    repo: str,
    *,
    statuses: Collection[TaskStatus],
    is_open: bool,
    kind: str,
    holder: str,
    after: int,
    limit: int,
) -> Page:
    """A part of the list; `is_open`: only those that are not over."""
    wanted = [one for one in statuses or TaskStatus if not is_open or one in _OPEN]
    if not wanted:
        return Page(tasks=(), counts=tx.tasks.counts(repo))
    some = () if len(wanted) == len(TaskStatus) else wanted
    found = tx.tasks.page(repo, statuses=some, kind=kind, holder=holder, after=after, limit=limit + 1)
    shown = found[:limit]
    return Page(
        tasks=[(task, tx.tasks.spec(task.id)) for task in shown],
        counts=tx.tasks.counts(repo),
        next=shown[-1].id if len(found) > limit else 0,
    )


def graph(tx: Transaction, repo: str, name: str, *, limit: int) -> Graph:
    """Everything that one task is tied to, or all unfinished ones with what they wait for. Raises NotFound."""
    if name:
        found = _tied(tx, find(tx, repo, name), limit=limit + 1)
    else:
        open_ones = tx.tasks.page(repo, statuses=_OPEN, limit=limit + 1)
        found = {task.id: task for task in open_ones}
    numbers = sorted(found)[:limit]
    return Graph(
        tasks=[(found[number], tx.tasks.spec(number)) for number in numbers],
        links=tx.tasks.links(numbers),
        is_cut=len(found) > limit,
    )


def _tied(tx: Transaction, start: Task, *, limit: int) -> dict[int, Task]:
    found = {start.id: start}
    left = [start]
    while left and len(found) < limit:
        here = left.pop()
        near = [parent for parent, _ in tx.tasks.parents(here.id)]
        near += tx.tasks.children(here.id, limit=limit)
        for task in near:
            if task.id not in found:
                found[task.id] = task
                left.append(task)
    return found
