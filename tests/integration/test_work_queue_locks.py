"""Tasks come with the locks they declare."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from envmgr.core.queueing import ObstacleKind, Refusal
from envmgr.model.task import TaskStatus, Usage
from tests.support.queues import ANNA, BEN, PAULA, REPO, Bench, Nothing, agent, bench, by, wanted
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

S = TaskStatus


@pytest.fixture
async def q(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as here:
        yield here


# --- locks -------------------------------------------------------------------------------------------------------


@proves("QUEUE-008")
async def test_a_task_comes_with_its_locks_and_they_go_with_its_end(q: Bench) -> None:
    await q.add(locks=["src/api", "db:schema:users"])
    assert await q.locked() == {}

    task = await q.got()

    assert await q.locked() == {"src/api": "anna", "db:schema:users": "anna"}
    q.clock.go(50)
    await q.queue.heartbeat(by(task))
    q.clock.go(50)
    assert len(await q.locked()) == 2, "they last as long as the lease"
    await q.done(task)
    assert await q.locked() == {}


@proves("QUEUE-008")
@pytest.mark.parametrize("end", ["fail", "give_up", "cancel", "expire", "gone"])
async def test_however_a_task_ends_its_locks_are_free(q: Bench, end: str) -> None:
    await q.add(locks=["src/api"])
    task = await q.got()

    if end == "fail":
        await q.queue.fail(by(task))
    elif end == "give_up":
        await q.queue.give_up(by(task))
    elif end == "cancel":
        await q.queue.cancel(REPO, task.name, by=PAULA, reason="x")
    elif end == "expire":
        q.clock.go(60)
        await q.queue.catch_up()
    else:
        await q.ground.write(lambda tx, tell: q.queue.release_of(tx, tell, ANNA.id))

    assert await q.locked() == {}


@proves("QUEUE-008")
async def test_a_task_whose_locks_are_taken_is_passed_over_and_stays_ready(q: Bench) -> None:
    first = await q.add(locks=["src/api"], priority=1)
    second = await q.add(locks=["src/ui", "src/api/x.py"], priority=2)
    third = await q.add(locks=["src/ui"], priority=3)
    await q.lock(BEN, "src/api/x.py")

    assert (await q.got()).name == third
    nothing = await q.claim(PAULA)

    assert isinstance(nothing, Nothing)
    assert {(one.kind, one.words) for one in nothing.lock_waits} == {
        (ObstacleKind.LOCK, "ben holds src/api/x.py"), (ObstacleKind.LOCK, "anna holds src/ui"),
    }  # fmt: skip
    assert await q.locked() == {"src/api/x.py": "ben", "src/ui": "anna"}, "all locks of a task, or none"
    why = await q.queue.why(REPO, first)
    assert (why.task.status, [one.words for one in why.in_the_way]) == (S.READY, ["ben holds src/api/x.py"])
    assert (await q.got(BEN)).name == first, "one's own locks are in nobody's way"
    assert (await q.queue.why(REPO, second)).in_the_way


@proves("QUEUE-008")
async def test_however_many_tasks_are_passed_over_the_one_behind_them_is_found(q: Bench) -> None:
    await q.lock(BEN, "src")
    await q.submit(*(wanted(locks=[f"src/f{n}.py"], priority=1) for n in range(450)))
    free = await q.add(priority=10)

    assert (await q.got()).name == free


@proves("QUEUE-008")
async def test_a_lock_of_two_tasks_ends_with_the_last_of_them(q: Bench) -> None:
    for _ in range(3):
        await q.add(locks=["src/api"])
    first, second = await q.got(), await q.got()

    await q.done(first)
    assert isinstance(await q.claim(BEN), Nothing)
    await q.done(second)

    assert await q.locked() == {}
    assert (await q.got(BEN)).name == "t-000003"


@proves("QUEUE-008")
async def test_two_sessions_of_one_agent_work_at_no_file_at_once(q: Bench) -> None:
    await q.add(locks=["src/api"])
    await q.add(locks=["src/api/x.py"])
    one, two = agent("anna", session="one"), agent("anna", session="two")
    first = await q.got(one)

    nothing = await q.claim(two)

    assert isinstance(nothing, Nothing)
    assert [wait.words for wait in nothing.lock_waits] == ["anna holds src/api"]
    await q.done(first, one)
    assert (await q.got(two)).name == "t-000002"


@proves("QUEUE-008", "QUEUE-010")
async def test_a_paused_task_whose_locks_somebody_else_may_have_had_is_not_done(q: Bench) -> None:
    await q.add(locks=["src/api"], budget=Usage(wall_s=30))
    task = await q.got()
    q.clock.go(30)
    assert (await q.queue.heartbeat(by(task))).task.status is S.PAUSED
    q.clock.go(100)
    await q.lock(BEN, "src/api")

    assert (await q.done(task)).refusal is Refusal.STALE
    assert (await q.task(task.name)).status is S.PAUSED
