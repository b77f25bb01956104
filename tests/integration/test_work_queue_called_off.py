"""Whoever works on a task that is called off hears of it once, by whatever they ask or say next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.core import telling
from envmgr.core.queueing import Refusal
from envmgr.model.principal import Principal
from envmgr.model.task import Task, Usage
from tests.support.queues import ANNA, BEN, PAULA, REPO, Bench, agent, bench, by, wanted
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@pytest.fixture
async def q(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as made:
        yield made


async def _called_off(
    q: Bench, *, of: Principal = ANNA, by: Principal = PAULA, reason: str = "not\nneeded"
) -> Task:
    """A task that somebody has and somebody calls off."""
    await q.add()
    task = await q.got(of)
    await q.queue.cancel(REPO, task.name, by=by, reason=reason)
    return task


@proves("QUEUE-013")
async def test_who_has_a_task_that_is_called_off_is_told_once(q: Bench) -> None:
    one, two = await _called_off(q), await _called_off(q, reason="")

    assert await q.queue.called_off(BEN.id) == ()
    assert await q.queue.called_off(ANNA.id) == [
        f"task {one.name} was cancelled: stop working on it (not needed)",
        f"task {two.name} was cancelled: stop working on it",
    ]
    assert await q.queue.called_off(ANNA.id) == ()


@proves("QUEUE-013")
async def test_who_was_told_by_a_refusal_or_called_it_off_hears_no_more_of_it(q: Bench) -> None:
    refused = await _called_off(q)
    assert (await q.queue.heartbeat(by(refused))).refusal is Refusal.CANCELLED
    await _called_off(q, by=ANNA)

    assert await q.queue.called_off(ANNA.id) == ()


@proves("QUEUE-013")
async def test_a_paused_task_has_a_doer_too_and_one_that_nobody_has_has_none(q: Bench) -> None:
    await q.submit(wanted(budget=Usage(tokens=10)), wanted(kind="other"))
    task = await q.got()
    await q.queue.heartbeat(by(task), used=Usage(tokens=11))
    for name in (task.name, "t-000002"):
        await q.queue.cancel(REPO, name, by=PAULA, reason="x")

    assert len(await q.queue.called_off(ANNA.id)) == 1


@proves("QUEUE-013")
async def test_whoever_gets_a_task_that_was_called_off_and_is_tried_again_is_not_told_to_stop(
    q: Bench,
) -> None:
    task = await _called_off(q)
    await q.queue.retry(REPO, task.name, by=PAULA)
    await q.got(BEN)

    assert await q.queue.called_off(BEN.id) == ()


@proves("QUEUE-013")
async def test_each_session_hears_with_its_heartbeat_of_its_own_tasks(q: Bench) -> None:
    one, two = agent("anna", session="one"), agent("anna", session="two")
    await _called_off(q, of=one)

    assert await q.queue.warn(two, REPO) == ()
    assert await q.queue.warn(replace(one, scopes=frozenset()), REPO) == [
        "task t-000001 was cancelled: stop working on it (not needed)"
    ]


@proves("QUEUE-013")
def test_what_to_stop_stands_before_what_there_is_to_know_and_is_never_cut_off() -> None:
    order = telling.called_off("t-000001", why="w" * 4000)

    said = telling.text(["x" * 300] * 8, orders=[order])

    assert said.startswith("From envmgr: task t-000001 was cancelled: stop working on it (www")
    assert len(said.splitlines()[0]) < 200
    assert said.splitlines()[1] == "From envmgr, about other agents in this repository:"
    assert len(said) <= telling.MOST_CHARS
    assert telling.text([]) == ""
