"""Budgets of tasks, and what is seen of the queue."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from envmgr.core.queueing import Refusal
from envmgr.model.task import Dependents, TaskStatus, Usage, task_name
from tests.support.queues import (
    ANNA,
    BEN,
    PAULA,
    REPO,
    Bench,
    Nothing,
    bench,
    by,
    wanted,
)
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

S = TaskStatus


@pytest.fixture
async def q(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as here:
        yield here


# --- budgets -----------------------------------------------------------------------------------------------------


@proves("QUEUE-010")
async def test_what_is_used_beyond_the_budget_pauses_the_task_until_a_person_decides(q: Bench) -> None:
    await q.add(budget=Usage(tokens=1000, tool_calls=5))
    task = await q.got()
    fine = await q.queue.heartbeat(by(task), used=Usage(tokens=1000))

    over = await q.queue.heartbeat(by(task), used=Usage(tokens=900, tool_calls=6))
    again = await q.queue.heartbeat(by(task))

    assert fine.over == ()
    assert fine.task.status is S.RUNNING
    assert (over.over, over.task.status) == (("tool_calls",), S.PAUSED)
    assert again.task.status is S.PAUSED
    q.clock.go(10_000)
    assert isinstance(await q.claim(BEN), Nothing)
    attempt = (await q.queue.see(REPO, task.name)).attempts[-1]
    assert (attempt.usage.tokens, attempt.usage.tool_calls) == (1000, 6)
    await q.queue.retry(REPO, task.name, by=PAULA)
    assert (await q.queue.heartbeat(by(task))).refusal is Refusal.STALE
    assert (await q.got(BEN)).attempts == 2


@proves("QUEUE-010")
async def test_a_task_that_takes_longer_than_its_budget_is_paused_without_a_word_of_its_holder(
    q: Bench,
) -> None:
    await q.add(budget=Usage(wall_s=30))
    task = await q.got()
    q.clock.go(29)
    assert (await q.queue.heartbeat(by(task))).task.lease_until == q.clock.steady + 1

    q.clock.go(1)

    assert (await q.task(task.name)).status is S.PAUSED
    assert q.told[-1].kind == "task.over_budget"
    assert q.told[-1].agent == ANNA.id
    assert (await q.done(task)).task.status is S.DONE, "what is finished is not thrown away"


# --- seeing ------------------------------------------------------------------------------------------------------


async def test_lists_come_in_pages_of_any_status(q: Bench) -> None:
    await q.submit(wanted(key="a"), *(wanted(after=["a"], kind="odd" if n % 2 else "even") for n in range(9)))
    await q.done(await q.got())
    names: list[str] = []
    after = 0

    while True:
        page = await q.queue.page(REPO, statuses=[S.READY, S.DONE], after=after, limit=3)
        names += [task.name for task, _ in page.tasks]
        after = page.next
        if not after:
            break

    assert names == [f"t-{n:06d}" for n in range(10, 0, -1)]
    assert page.counts == {S.READY: 9, S.DONE: 1}
    assert [t.type for t, _ in (await q.queue.page(REPO, kind="odd", limit=50)).tasks] == ["odd"] * 4
    assert [t.name for t, _ in (await q.queue.page(REPO, holder=ANNA.id)).tasks] == ["t-000001"]
    assert (await q.queue.page(REPO, statuses=[S.DONE], is_open=True)).tasks == ()


async def test_the_graph_of_one_task_is_all_it_is_tied_to(q: Bench) -> None:
    await q.submit(
        wanted(key="a"), wanted(key="b", after=["a"]), wanted(key="c", after=["b"], related=("a",)), wanted(key="d")
    )  # fmt: skip

    whole = await q.queue.graph(REPO)
    part = await q.queue.graph(REPO, "t-000002")

    assert [task.name for task, _ in whole.tasks] == ["t-000001", "t-000002", "t-000003", "t-000004"]
    assert [task.name for task, _ in part.tasks] == ["t-000001", "t-000002", "t-000003"]
    assert [(link.child, link.parent, link.kind.value) for link in part.links] == [
        (2, 1, "blocks"), (3, 1, "related"), (3, 2, "blocks"),
    ]  # fmt: skip
    assert (await q.queue.graph(REPO, limit=2)).is_cut


@proves("QUEUE-009")
async def test_old_answers_are_forgotten_and_old_tasks_go_unless_somebody_waits_for_them(q: Bench) -> None:
    await q.submit(wanted(key="a"), wanted(key="b", after=["a"]), wanted(key="c"), key="k")
    first = await q.got()
    await q.queue.give_up(by(first))
    await q.done(await q.got())
    q.clock.go(100)

    removed = await q.ground.write(lambda tx, _: tx.tasks.prune(before_at=q.clock.steady, limit=10))
    forgotten = await q.ground.write(lambda tx, _: tx.tasks.forget(before_at=q.clock.steady, limit=10))

    assert (removed, forgotten) == (1, 1)
    assert await q.statuses() == {"t-000001": "failed", "t-000002": "blocked"}
    assert len(await q.submit(wanted(), key="k", told="other")) == 1


@proves("QUEUE-005")
async def test_however_many_wait_for_a_task_its_end_keeps_nobody_waiting_and_names_the_first_of_them(
    q: Bench,
) -> None:
    await q.submit(wanted(key="a"))
    many = 10_000
    for start in range(1, many, 1000):  # each waits for the one a thousand before it
        await q.submit(*(wanted(after=[task_name(max(1, start + n - 999))]) for n in range(1000)))

    before_s = time.process_time()
    off = await q.queue.cancel(REPO, "t-000001", by=PAULA, reason="", dependents=Dependents.CANCEL)
    back = await q.queue.retry(REPO, "t-000001", by=PAULA, with_dependents=True)
    took_s = time.process_time() - before_s

    assert [len(off.cancelled), len(back.ready)] == [100, 1]
    for kind in ("task.cancelled", "task.retried"):
        told = [
            str(event.data["tasks"]).count("t-")
            for event in q.told
            if event.kind == kind and "tasks" in event.data
        ]
        assert (sum(told), max(told)) == (many, 100)
    assert (await q.task(task_name(many))).status is S.BLOCKED
    assert took_s < 0.8


@proves("QUEUE-003", "QUEUE-012")
async def test_with_a_hundred_thousand_tasks_everybody_is_answered_at_once(q: Bench) -> None:
    many = 100_000
    await q.submit(wanted(key="gate"))
    for start in range(2, many, 1000):  # half of them wait for the first one
        await q.submit(*(wanted(after=[task_name(1)] * (n % 2), priority=1 + n % 10) for n in range(1000)))

    async def answers() -> None:
        first = await q.got()
        await q.queue.heartbeat(by(first))
        await q.done(first)
        assert sum((await q.queue.page(REPO, limit=50)).counts.values()) == many + 1
        for part in ("", task_name(1)):
            assert (await q.queue.graph(REPO, part, limit=200)).is_cut
        assert len((await q.queue.see(REPO, task_name(1))).children) == 100
        for name in (task_name(1), task_name(many)):
            await q.queue.why(REPO, name)

    before_s = time.process_time()
    await answers()
    assert time.process_time() - before_s < 0.5
