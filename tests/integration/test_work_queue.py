"""Tasks are submitted, given out and reported on: the queue on a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.core.queueing import Refusal
from envmgr.errors import Conflict, Denied, Invalid, NotFound
from envmgr.model.task import TaskStatus
from envmgr.services.queue.submitting import Submission
from tests.support.queues import (
    ANNA,
    BEN,
    PAULA,
    REPO,
    RULES,
    Bench,
    Claimed,
    Nothing,
    Report,
    agent,
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


# --- submitting --------------------------------------------------------------------------------------------------


@proves("QUEUE-002")
async def test_tasks_of_a_request_depend_on_each_other_by_key_in_any_order(q: Bench) -> None:
    earlier = await q.add()

    taken = await q.submit(
        wanted("release", after=["ui", "api", earlier]), wanted("ui", key="ui", after=["api"]), wanted("api", key="api")
    )  # fmt: skip

    assert [(one.key, one.status, one.blocked_by) for one in taken] == [
        ("", S.BLOCKED, ("t-000003", "t-000004", "t-000001")),
        ("ui", S.BLOCKED, ("t-000004",)),
        ("api", S.READY, ()),
    ]


@proves("QUEUE-002")
@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ([wanted(key="a", after=["b"]), wanted(key="b", after=["c"]), wanted(key="c", after=["a"])], "a -> b -> c -> a"),
        ([wanted(key="a", after=["a"])], "a -> a"),
        ([wanted(key="a"), wanted(key="a")], "given to 2 tasks"),
        ([wanted(key="t-000001")], "looks like the id"),
        ([wanted() for _ in range(1001)], "at most 1000"),
        ([wanted(after=[f"t-{n}" for n in range(1000)]) for _ in range(21)], "more than 20000 dependencies"),
    ],
    ids=["cycle", "self", "key twice", "key like an id", "too many", "too many ties"],
)  # fmt: skip
async def test_a_request_that_makes_no_sense_is_refused_whole(
    q: Bench, tasks: list[Submission], says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        await q.submit(wanted(), *tasks)

    assert await q.statuses() == {}


@proves("QUEUE-002")
@pytest.mark.parametrize("name", ["t-000999", "nobody", "", "t-"])
async def test_a_dependency_that_is_not_there_undoes_the_whole_request(q: Bench, name: str) -> None:
    with pytest.raises(NotFound, match=f"no task {name}"):
        await q.submit(wanted("fine"), wanted(after=[name]))

    assert await q.statuses() == {}


async def test_tasks_of_another_repository_are_not_there(q: Bench) -> None:
    await q.add()

    with pytest.raises(NotFound):
        await q.queue.submit([wanted(after=["t-000001"])], repo="/other", by=PAULA)
    with pytest.raises(NotFound):
        await q.queue.see("/other", "t-000001")
    assert isinstance(await q.queue.claim(repo="/other", who=ANNA), Nothing)
    assert (await q.queue.page("/other")).tasks == []


@proves("QUEUE-009")
async def test_the_same_key_submits_once_and_is_answered_the_same(q: Bench) -> None:
    first = await q.submit(wanted(), wanted(), key="k", told="a")
    task = await q.got()
    await q.done(task)

    again = await q.submit(wanted(), wanted(), key="k", told="a")
    assert [one.is_repeat for one in first + again] == [False, False, True, True]
    assert [replace(one, is_repeat=False) for one in again] == first
    with pytest.raises(Conflict, match="another request"):
        await q.submit(wanted(), key="k", told="b")
    # keys are everybody's own
    assert await q.submit(wanted(), key="k", told="b", by=ANNA) != first
    assert len(await q.statuses()) == 3


# --- claiming ----------------------------------------------------------------------------------------------------


@proves("QUEUE-003")
async def test_the_most_urgent_goes_first_and_among_equals_the_oldest(q: Bench) -> None:
    names = [await q.add(priority=priority) for priority in (5, 10, 1, 5, 1)]

    order = [(await q.got()).name for _ in names]

    assert order == [names[i] for i in (2, 4, 0, 3, 1)]
    assert isinstance(await q.claim(), Nothing)


@proves("QUEUE-003")
async def test_who_waited_long_enough_goes_before_the_more_urgent(tmp_path: Path) -> None:
    async with bench(tmp_path, replace(RULES, ageing_s=100.0)) as q:
        old = await q.add(priority=10)
        q.clock.go(901.0)
        await q.add(priority=1)

        assert (await q.got()).name == old


@proves("QUEUE-008")
async def test_a_claimer_gets_what_it_wants_and_is_able_to(q: Bench) -> None:
    gpu = await q.add(kind="train", needs=["gpu", "python"], priority=1)
    test = await q.add(kind="test", priority=2)
    fix = await q.add(kind="fix", priority=3)

    assert isinstance(await q.claim(types=["review"]), Nothing)
    assert isinstance(await q.claim(types=["train"], able=["gpu"]), Nothing)
    assert (await q.got(able=["gpu"])).name == test
    assert (await q.got(able=["python", "more", "gpu"])).name == gpu
    assert (await q.got()).name == fix


async def test_a_claim_tells_all_the_doer_needs(q: Bench) -> None:
    await q.add("Fix it", kind="fix")

    found = await q.claim()

    assert isinstance(found, Claimed)
    assert (found.spec.description, found.task.type, found.task.status) == ("Fix it", "fix", S.CLAIMED)
    assert found.task.lease_until == q.clock.steady + 60
    assert q.kinds() == ["task.submitted", "task.claimed"]


@proves("QUEUE-003")
async def test_no_task_is_given_to_two_of_many_who_ask_at_once(q: Bench) -> None:
    await q.submit(*(wanted(priority=1 + n % 10) for n in range(200)))
    got: list[str] = []

    async def work(number: int) -> None:
        who = agent(f"a{number}")
        while isinstance(found := await q.claim(who), Claimed):
            got.append(found.task.name)
            assert (await q.done(found.task, who)).refusal is None

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(work, number)

    assert len(got) == len(set(got)) == 200
    assert set((await q.statuses()).values()) == {"done"}


# --- reporting ---------------------------------------------------------------------------------------------------


@proves("QUEUE-004")
async def test_what_waited_becomes_ready_with_the_last_completion(q: Bench) -> None:
    await q.submit(wanted(key="a"), wanted(key="b"), wanted(key="c", after=["a", "b"]), wanted(after=["c"]))
    first, second = await q.got(), await q.got(BEN)

    assert (await q.done(first)).ready == ()
    answer = await q.done(second, BEN)

    assert [task.name for task in answer.ready] == ["t-000003"]
    assert await q.statuses() == {
        "t-000001": "done", "t-000002": "done", "t-000003": "ready", "t-000004": "blocked",
    }  # fmt: skip
    assert q.told[-1].kind == "task.ready"
    assert q.told[-1].data["tasks"] == ["t-000003"]


@proves("QUEUE-004")
async def test_reports_of_others_of_old_leases_and_second_ones_change_nothing(q: Bench) -> None:
    await q.add()
    old = await q.got()
    q.clock.go(61)
    await q.queue.catch_up()
    q.clock.go(100)
    new = await q.got(BEN)
    before = await q.queue.see(REPO, new.name)

    refused = [
        (await q.queue.complete(by(old))).refusal,
        (await q.queue.heartbeat(by(old))).refusal,
        (await q.queue.fail(by(old))).refusal,
        (await q.queue.give_up(by(old))).refusal,
        (await q.queue.complete(by(new, ANNA, token=0))).refusal,
        (await q.queue.complete(by(new, agent("carl")))).refusal,
        (await q.queue.complete(by(new, agent("carl"), token=0))).refusal,
        (await q.queue.complete(by(new, BEN, token=new.lease + 1))).refusal,
    ]

    assert refused == [*[Refusal.STALE] * 4, *[Refusal.NOT_YOURS] * 3, Refusal.STALE]
    assert await q.queue.see(REPO, new.name) == before
    assert (await q.done(new, BEN)).refusal is None
    after = await q.queue.see(REPO, new.name)
    assert (await q.done(new, BEN)).refusal is Refusal.OVER
    assert (await q.queue.complete(by(old))).refusal is Refusal.STALE
    assert await q.queue.see(REPO, new.name) == after


@proves("QUEUE-004")
async def test_without_a_token_only_the_very_session_that_has_the_task_may_report(q: Bench) -> None:
    await q.add()
    task = await q.got(agent("anna", session="one"))

    assert (await q.queue.heartbeat(by(task, agent("anna", session="two"), token=0))).refusal is Refusal.STALE
    assert (await q.queue.heartbeat(by(task, agent("anna", session="one"), token=0))).refusal is None


async def test_unknown_tasks_are_not_there_for_any_question(q: Bench) -> None:
    for name in ("t-000001", "", "x" * 32, "t-99999999999999999999"):
        for ask in (
            q.queue.complete(Report(repo=REPO, task=name, who=ANNA, token=1)),
            q.queue.cancel(REPO, name, by=PAULA, reason=""),
            q.queue.retry(REPO, name, by=PAULA),
            q.queue.see(REPO, name),
            q.queue.why(REPO, name),
        ):
            with pytest.raises(NotFound, match="no task"):
                await ask


@proves("QUEUE-004")
async def test_a_heartbeat_begins_the_lease_anew_and_the_first_one_makes_it_run(q: Bench) -> None:
    await q.add()
    task = await q.got()
    q.clock.go(50)

    assert (await q.queue.heartbeat(by(task))).task.status is S.RUNNING
    q.clock.go(50)
    checking = await q.queue.heartbeat(by(task), is_verifying=True)

    assert (checking.task.status, checking.task.lease_until) == (S.VERIFYING, q.clock.steady + 60)
    assert (await q.done(task)).refusal is None


# --- who may -----------------------------------------------------------------------------------------------------


async def test_an_agent_calls_off_and_retries_only_what_is_its_own(q: Bench) -> None:
    await q.add()
    await q.submit(wanted(), by=ANNA)

    with pytest.raises(Denied):
        await q.queue.cancel(REPO, "t-000002", by=BEN, reason="mine now")
    with pytest.raises(Denied):
        await q.queue.retry(REPO, "t-000001", by=BEN)
    assert (await q.queue.cancel(REPO, "t-000002", by=ANNA, reason="enough")).task.status is S.CANCELLED
    mine = await q.got(BEN)
    assert (await q.queue.cancel(REPO, mine.name, by=BEN, reason="x")).task.status is S.CANCELLED
