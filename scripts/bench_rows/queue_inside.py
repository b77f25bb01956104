"""The work queue as the daemon has it, audit trail and locks included, without the daemon's socket."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from envmgr.model.lock import LockPolicy
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.model.task import TaskSpec
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.calls import Call, answering
from envmgr.services.ground import Ground
from envmgr.services.locks import Locks
from envmgr.services.queue.claiming import Claimed
from envmgr.services.queue.locking import LocksOfTasks
from envmgr.services.queue.queue import Queue, Report
from envmgr.services.queue.rules import Footing, QueueRules
from envmgr.services.queue.submitting import Submission
from envmgr.store.sqlite import SqliteStore
from scripts.bench_rows.talking import CLIENTS

_REPO = "/repo"
_SECONDS = 4.0
_BATCH = 1000


@contextmanager
def work_queue(tasks: int) -> Iterator[Callable[[], list[str]]]:
    """A queue of so many tasks; calling what this gives lets eight clients work for some seconds, and tells what they did."""
    with tempfile.TemporaryDirectory(prefix="eb-", dir="/tmp") as folder, asyncio.Runner() as runner:
        store = AuditedStore(runner.run(SqliteStore.open(Path(folder) / "envmgr.db")))
        ground = Ground(store=store, now=time.time, steady=time.time, publish=lambda events: None)
        rules = QueueRules()
        locks = LocksOfTasks(Locks(ground, LockPolicy()), ttl_s=rules.lease_s)
        queue = Queue(ground, Footing(rules=rules, locks=locks, draw=lambda: 0.5))
        runner.run(_fill(queue, tasks))
        yield lambda: runner.run(_work(queue))
        runner.run(store.close())


async def _fill(queue: Queue, tasks: int) -> None:
    wanted = [
        Submission(spec=TaskSpec(type="fix", description=f"task {number}", priority=1 + number % 10))
        for number in range(tasks)
    ]
    for at in range(0, tasks, _BATCH):
        await queue.submit(wanted[at : at + _BATCH], repo=_REPO, by=_agent(0))


async def _work(queue: Queue) -> list[str]:
    done: list[str] = []
    end = time.perf_counter() + _SECONDS
    async with anyio.create_task_group() as group:
        for number in range(CLIENTS):
            group.start_soon(_client, queue, _agent(number), done, end)
    return done


async def _client(queue: Queue, who: Principal, done: list[str], end: float) -> None:
    while time.perf_counter() < end:
        with answering(Call(principal=who, operation="task.claim")):
            found = await queue.claim(repo=_REPO, who=who)
        assert isinstance(found, Claimed), "there are enough tasks"
        task = found.task
        with answering(
            Call(
                principal=who,
                operation="task.complete",
                params={"task_id": task.name, "lease_token": task.lease},
            )
        ):
            answer = await queue.complete(Report(repo=_REPO, task=task.name, who=who, token=task.lease))
        assert answer.refusal is None
        done.append(task.name)


def _agent(number: int) -> Principal:
    return Principal(kind=PrincipalKind.AGENT, name=f"agent-{number}", agent=f"{number:08x}")
