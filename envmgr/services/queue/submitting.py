"""Take tasks in: all of a request or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from envmgr.core.queueing import Meaning, meaning, rank, standing
from envmgr.errors import Conflict, Invalid, NotFound
from envmgr.model.event import NewEvent
from envmgr.model.principal import Principal
from envmgr.model.task import LinkKind, NewTask, Task, TaskSpec, TaskStatus, task_name, task_number
from envmgr.protocols.store import Transaction
from envmgr.protocols.tasks import Link, PastRequest
from envmgr.services.ground import Tell
from envmgr.services.queue.rules import QueueRules

_FIELDS = {LinkKind.PARENT: "parent", LinkKind.DISCOVERED_FROM: "discovered_from"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task that somebody wants done.

    Attributes:
        depends_on, parent, discovered_from, related: Names of tasks, or keys of tasks of the same request.
        run_at, deadline_at: Steady time.
        place: Where it stands in the request, such as `tasks`, 2; empty when it is all of it.
    """

    spec: TaskSpec
    depends_on: tuple[str, ...] = ()
    parent: str = ""
    discovered_from: str = ""
    related: tuple[str, ...] = ()
    run_at: float | None = None
    deadline_at: float | None = None
    place: tuple[str | int, ...] = ()

    def at(self, *field: str | int) -> list[str | int]:
        """Where a field of it stands in the request, for `details` of errors."""
        return [*self.place, *field]

    def named_at(self, kind: LinkKind, name: str) -> list[str | int]:
        """Where it names another task."""
        if kind in _FIELDS:
            return self.at(_FIELDS[kind])
        field, names = (
            ("depends_on", self.depends_on) if kind is LinkKind.BLOCKS else ("related", self.related)
        )
        return self.at(field, names.index(name))

    def ties(self) -> list[tuple[LinkKind, str]]:
        """All it is tied to, each once."""
        ties = [(LinkKind.BLOCKS, name) for name in self.depends_on]
        ties += [(LinkKind.PARENT, self.parent)] if self.parent else []
        ties += [(LinkKind.DISCOVERED_FROM, self.discovered_from)] if self.discovered_from else []
        ties += [(LinkKind.RELATED, name) for name in self.related]
        return list(dict.fromkeys(ties))


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of a submission.

    Attributes:
        blocked_by: Tasks it waits for.
        is_repeat: An earlier request added it; the rest is what that was answered.
    """

    task_id: str
    status: TaskStatus
    key: str = ""
    blocked_by: tuple[str, ...] = ()
    is_repeat: bool = False


def submit(
    tx: Transaction,
    tell: Tell,
    wanted: Sequence[Submission],
    *,
    repo: str,
    by: Principal,
    key: str,
    told: str,
    rules: QueueRules,
    now: float,
) -> list[Submitted]:
    """Record tasks that `check` lets pass; with the same key, the answer that was given before.

    Args:
        told: The request as it came: with the same key, it must be the same.

    Raises:
        Conflict: The key was used for something else.
        Invalid: A task could never be begun.
        Conflict: A dependency is over, and takes those that wait for it with it.
        NotFound: A dependency is no task of this repository.
    """
    digest = hashlib.sha256(told.encode()).hexdigest()
    if key and (past := tx.tasks.past(repo, by.id, key)):
        return _again(past, digest, key)
    _check_times(wanted, now)
    earlier = _earlier(tx, repo, wanted)
    numbers = _numbered(tx, wanted, repo=repo, by=by, earlier=earlier, rules=rules, now=now)
    by_key = {one.spec.key: number for one, (number, _) in zip(wanted, numbers, strict=True) if one.spec.key}
    links: list[Link] = []
    answers = []
    for one, (number, status) in zip(wanted, numbers, strict=True):
        mine = [_link(number, kind, name, by_key, earlier) for kind, name in one.ties()]
        links += mine
        blocked_by = [
            task_name(link.parent) for link in mine if link.kind is LinkKind.BLOCKS and not link.is_met
        ]
        answers.append(
            Submitted(
                task_id=task_name(number), status=status, key=one.spec.key, blocked_by=tuple(blocked_by)
            )
        )
    tx.tasks.link(links)
    _announce(tell, answers, repo=repo, by=by)
    if key:
        answer = json.dumps([asdict(answer) for answer in answers])
        tx.tasks.remember(repo, by.id, key, PastRequest(digest=digest, answer=answer), at=now)
    return answers


def _again(past: PastRequest, digest: str, key: str) -> list[Submitted]:
    if past.digest != digest:
        raise Conflict(
            f"the idempotency key {key} was used for another request",
            hint="Use a new key for a new request.",
            details={"reason": "idempotency_key_reused"},
        )
    return [
        Submitted(
            task_id=one["task_id"],
            status=TaskStatus(one["status"]),
            key=one["key"],
            blocked_by=tuple(one["blocked_by"]),
            is_repeat=True,
        )
        for one in json.loads(past.answer)
    ]


def _check_times(wanted: Sequence[Submission], now: float) -> None:
    for one in wanted:
        begins_at = max(now, one.run_at or now)
        if one.deadline_at is not None and one.deadline_at <= begins_at:
            named = f" of {one.spec.key}" if one.spec.key else ""
            raise Invalid(
                f"the deadline{named} is {'over' if one.deadline_at <= now else 'before it may begin'}",
                hint="It is the moment by which somebody must have begun: give a later one, or none.",
                details={"at": one.at("deadline")},
            )


def _earlier(tx: Transaction, repo: str, wanted: Sequence[Submission]) -> dict[str, Task]:
    """The tasks that are there already and are named."""
    keys = {one.spec.key for one in wanted if one.spec.key}
    found: dict[str, Task] = {}
    for one in wanted:
        for kind, name in one.ties():
            if name in keys:
                continue
            task = found.get(name) or tx.tasks.get(task_number(name))
            if task is None or task.repo != repo:
                raise NotFound(
                    f"no task {name}",
                    hint="See `envmgr task ls`; in a batch, tasks may name each other by `key`.",
                    details={"reason": "task_not_found", "at": one.named_at(kind, name)},
                )
            if kind is LinkKind.BLOCKS:
                _check_alive(task, at=one.named_at(kind, name))
            found[name] = task
    return found


def _check_alive(parent: Task, *, at: Sequence[str | int]) -> None:
    """Raises Conflict when whoever waits for it is cancelled: nobody would come back to one that is added now."""
    if meaning(parent.status, parent.dependents) is Meaning.CANCEL:
        raise Conflict(
            f"{parent.name} is {parent.status}: nothing that waits for it would ever begin",
            hint=f"First `envmgr task retry {parent.name}`, or leave that dependency out.",
            details={"reason": "dependency_over", "at": at},
        )


def _numbered(
    tx: Transaction,
    wanted: Sequence[Submission],
    *,
    repo: str,
    by: Principal,
    earlier: Mapping[str, Task],
    rules: QueueRules,
    now: float,
) -> list[tuple[int, TaskStatus]]:
    found = []
    for one in wanted:
        unmet = sum(not _is_met(earlier.get(name)) for kind, name in one.ties() if kind is LinkKind.BLOCKS)
        status = standing(unmet=unmet, due_at=one.run_at, now=now)
        new = NewTask(
            repo=repo,
            spec=one.spec,
            status=status,
            unmet=unmet,
            rank=rank(one.spec.priority, at=now, ageing_s=rules.ageing_s),
            due_at=one.run_at if status is TaskStatus.SCHEDULED else None,
            run_at=one.run_at,
            deadline_at=one.deadline_at,
            submitted_at=now,
            submitted_by=by.id,
        )
        found.append((tx.tasks.add(new), status))
    return found


def _is_met(parent: Task | None) -> bool:
    """None: a task of the same request."""
    return parent is not None and meaning(parent.status, parent.dependents) is Meaning.MET


def _link(
    child: int, kind: LinkKind, name: str, by_key: Mapping[str, int], earlier: Mapping[str, Task]
) -> Link:
    parent = by_key[name] if name in by_key else earlier[name].id
    return Link(child=child, parent=parent, kind=kind, is_met=_is_met(earlier.get(name)))


def _announce(tell: Tell, answers: Sequence[Submitted], *, repo: str, by: Principal) -> None:
    if not answers:
        return
    data: dict[str, object] = {
        "repo": repo,
        "first": answers[0].task_id,
        "count": len(answers),
        "ready": sum(answer.status is TaskStatus.READY for answer in answers),
        "by": by.name,
    }
    tell(NewEvent(kind="task.submitted", agent=by.agent, data=data))
