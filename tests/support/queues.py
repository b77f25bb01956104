"""A work queue on a real store, with clocks of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envmgr.model.event import Event
from envmgr.model.lock import LockPolicy
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.model.task import Dependents, Task, TaskSpec, TaskStatus, Usage, task_number
from envmgr.services.ground import Ground
from envmgr.services.locks import LockRequest, Locks
from envmgr.services.queue.claiming import Claimed, Nothing
from envmgr.services.queue.locking import LocksOfTasks
from envmgr.services.queue.queue import Answer, Queue, Report
from envmgr.services.queue.rules import Footing, QueueRules
from envmgr.services.queue.submitting import Submission, Submitted
from envmgr.store.sqlite import SqliteStore

REPO = "/repo"
RULES = QueueRules(lease_s=60.0, back_off_s=10.0, most_back_off_s=100.0, ageing_s=0.0)


def agent(name: str, *, session: str = "") -> Principal:
    """An agent whose id is its name."""
    return Principal(kind=PrincipalKind.AGENT, name=name, agent=f"id-{name}", session=session)


ANNA, BEN = agent("anna"), agent("ben")
PAULA = Principal(kind=PrincipalKind.PERSON, name="paula")


@dataclass
class Clock:
    """Time that only the test moves; `wall` may be set against it, as people and time servers do."""

    steady: float = 1_000_000.0
    wall: float = 1_000_000.0

    def go(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@dataclass
class Bench:
    """A queue, its clock, and what was told."""

    queue: Queue
    ground: Ground
    locks: Locks
    clock: Clock
    told: list[Event] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    lives: dict[str, str] = field(default_factory=dict)
    able: dict[str, Collection[str]] = field(default_factory=dict)

    async def add(self, what: str = "work", /, **more: Any) -> str:
        """Submit one task; returns its name."""
        (one,) = await self.submit(wanted(what, **more))
        return one.task_id

    async def submit(
        self, *tasks: Submission, by: Principal = PAULA, key: str = "", told: str = ""
    ) -> list[Submitted]:
        return await self.queue.submit(list(tasks), repo=REPO, by=by, key=key, told=told)

    async def claim(
        self, who: Principal = ANNA, *, types: Sequence[str] = (), able: Sequence[str] = ()
    ) -> Claimed | Nothing:
        return await self.queue.claim(repo=REPO, who=who, types=types, capabilities=able)

    async def got(self, who: Principal = ANNA, *, able: Sequence[str] = ()) -> Task:
        """Claim something that must be there."""
        found = await self.claim(who, able=able)
        assert isinstance(found, Claimed), found
        return found.task

    async def done(self, task: Task, who: Principal = ANNA) -> Answer:
        return await self.queue.complete(by(task, who))

    async def task(self, name: str) -> Task:
        return (await self.queue.see(REPO, name)).task

    async def statuses(self) -> dict[str, str]:
        page = await self.queue.page(REPO, limit=1000)
        return {task.name: task.status.value for task, _ in sorted(page.tasks, key=lambda one: one[0].id)}

    async def lock(self, who: Principal, *targets: str) -> None:
        await self.ground.write(
            lambda tx, tell: self.locks.take(tx, tell, LockRequest(principal=who, repo=REPO, targets=targets))
        )

    async def locked(self) -> dict[str, str]:
        held = await self.ground.read(lambda tx: self.locks.held(tx, REPO))
        return {grant.target: grant.name for grant in held}

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]


def wanted(
    what: str = "work",
    /,
    *,
    after: Sequence[str] = (),
    key: str = "",
    kind: str = "task",
    priority: int = 5,
    needs: Sequence[str] = (),
    locks: Sequence[str] = (),
    tries: int = 3,
    dependents: str = "block",
    budget: Usage | None = None,
    **more: Any,
) -> Submission:
    """A submission with what matters to the test."""
    spec = TaskSpec(
        type=kind, description=what, key=key, priority=priority, capabilities=tuple(needs), locks=tuple(locks),
        max_attempts=tries, dependents=Dependents(dependents), budget=budget or Usage(),
    )  # fmt: skip
    return Submission(spec=spec, depends_on=tuple(after), **more)


def by(task: Task, who: Principal = ANNA, *, token: int | None = None) -> Report:
    """A report of the lease that the task stands for."""
    return Report(repo=REPO, task=task.name, who=who, token=task.lease if token is None else token)


@asynccontextmanager
async def bench(
    tmp_path: Path, rules: QueueRules = RULES, *, secrets: Collection[str] = ()
) -> AsyncIterator[Bench]:
    """A queue with locks, on a new database."""
    store = await SqliteStore.open(tmp_path / "state.db")
    clock, told = Clock(), list[Event]()
    ground = Ground(store=store, now=lambda: clock.wall, steady=lambda: clock.steady, publish=told.extend)
    locks = Locks(ground, LockPolicy())
    footing = Footing(rules=rules, locks=LocksOfTasks(locks, ttl_s=rules.lease_s), draw=lambda: 0.5)
    here = Bench(queue=Queue(ground, footing), ground=ground, locks=locks, clock=clock, told=told)
    here.queue = Queue(
        ground,
        replace(
            footing,
            abilities=lambda who: here.able.get(who.id, ()),
            life=lambda name: here.lives.get(name, ""),
            was_stopped=here.stopped.__contains__,
            secrets=secrets,
        ),
    )
    yield here
    await store.close()


__all__ = [
    "ANNA", "BEN", "PAULA", "REPO", "RULES", "Answer", "Bench", "Claimed", "Nothing", "Report", "TaskStatus", "agent",
    "bench", "by", "task_number", "wanted",
]  # fmt: skip
