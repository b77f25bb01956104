"""How tasks end, come back, or are called off, and what that means for others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from envmgr.core.queueing import ObstacleKind, Refusal
from envmgr.errors import Conflict, Invalid
from envmgr.model.task import CANCELLED_BY_ORCHESTRATOR, Dependents, TaskStatus
from envmgr.services.queue.keeping import QueueKeeper
from tests.support.queues import (
    ANNA,
    BEN,
    PAULA,
    REPO,
    RULES,
    Answer,
    Bench,
    Nothing,
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


# --- leases that run out -----------------------------------------------------------------------------------------


@proves("QUEUE-006")
async def test_who_is_silent_for_too_long_loses_the_task_which_rests_and_dies_of_too_many(q: Bench) -> None:
    name = await q.add(tries=3)
    pauses = []

    for _ in range(3):
        await q.got()
        q.clock.go(60)
        lost = await q.task(name)
        pauses.append(lost.due_at and lost.due_at - q.clock.steady)
        assert isinstance(await q.claim(BEN), Nothing)
        q.clock.go(200)

    assert pauses == [10, 20, None]
    dead = await q.queue.see(REPO, name)
    assert (dead.task.status, dead.task.error_code, dead.task.failures) == (S.DEAD, "lease_expired", 3)
    assert [(one.number, one.outcome, one.error_code) for one in dead.attempts] == [
        (1, "expired", "lease_expired"), (2, "expired", "lease_expired"), (3, "expired", "lease_expired"),
    ]  # fmt: skip
    assert q.kinds().count("task.returned") == 2
    assert q.told[-1].kind == "task.dead"


@proves("QUEUE-006")
async def test_a_failed_attempt_is_followed_by_another_until_there_were_enough(q: Bench) -> None:
    name = await q.add(tries=2)
    first = await q.got()

    answer = await q.queue.fail(by(first), error_code="tests", error_message="2 failed", result={"log": "x"})

    assert (answer.task.status, answer.task.due_at) == (S.SCHEDULED, q.clock.steady + 10)
    assert isinstance(await q.claim(), Nothing)
    q.clock.go(10)
    assert (await q.queue.fail(by(await q.got(BEN), BEN), error_code="tests")).task.status is S.DEAD
    attempts = (await q.queue.see(REPO, name)).attempts
    assert [(one.holder, one.error_message, one.result) for one in attempts] == [
        (ANNA.id, "2 failed", {"log": "x"}), (BEN.id, "", None),
    ]  # fmt: skip


@proves("QUEUE-006")
async def test_clocks_that_are_set_neither_end_a_lease_nor_prolong_it(q: Bench) -> None:
    await q.add()
    task = await q.got()

    q.clock.wall += 86_400
    assert (await q.task(task.name)).status is S.CLAIMED
    q.clock.wall -= 10 * 86_400
    q.clock.go(60)
    assert (await q.task(task.name)).status is S.SCHEDULED


@proves("QUEUE-007")
async def test_what_a_holder_has_that_is_gone_goes_back_at_once(q: Bench) -> None:
    q.lives["id-anna"] = "1/77"
    mine, other, newer = [await q.add() for _ in range(3)]
    await q.got()
    await q.got(BEN)
    q.lives["id-anna"] = "2/88"
    await q.got()

    async def gone(holder: str, life: str) -> str:
        return "its process is gone" if (holder, life) == ("id-anna", "1/77") else ""

    await QueueKeeper(q.queue, q.ground, RULES, period_s=1, gone=gone).turn()

    assert await q.statuses() == {mine: "ready", other: "claimed", newer: "claimed"}
    assert (await q.task(mine)).failures == 1
    again = await q.got()
    q.stopped.add("id-anna")
    await q.ground.write(lambda tx, tell: q.queue.release_of(tx, tell, "id-anna"))
    assert (await q.task(again.name)).failures == 1, "who was sent away has not failed"


@proves("QUEUE-007")
async def test_the_end_of_one_session_leaves_the_others_of_the_agent_their_tasks(q: Bench) -> None:
    for _ in range(3):
        await q.add()
    for session in ("one", "two", ""):
        await q.got(agent("anna", session=session))

    await q.ground.write(lambda tx, tell: q.queue.release_of(tx, tell, "id-anna", session="one"))
    assert await q.statuses() == {"t-000001": "ready", "t-000002": "claimed", "t-000003": "claimed"}
    await q.ground.write(lambda tx, tell: q.queue.release_of(tx, tell, "id-anna", session="-"))
    assert await q.statuses() == {"t-000001": "ready", "t-000002": "claimed", "t-000003": "ready"}


# --- moments -----------------------------------------------------------------------------------------------------


@proves("QUEUE-001")
async def test_a_task_that_is_to_begin_later_is_not_given_out_earlier(q: Bench) -> None:
    moment = q.clock.steady + 100
    await q.submit(wanted(key="a"), wanted(key="b", run_at=moment), wanted(after=["a"], run_at=moment))
    assert await q.statuses() == {"t-000001": "ready", "t-000002": "scheduled", "t-000003": "blocked"}

    await q.done(await q.got())

    assert (await q.statuses())["t-000003"] == "scheduled"
    assert isinstance(await q.claim(), Nothing)
    (found,) = (await q.queue.why(REPO, "t-000003")).in_the_way
    assert (found.kind, found.until) == (ObstacleKind.NOT_YET, moment)
    q.clock.go(100)
    assert [(await q.got()).name, (await q.got()).name] == ["t-000002", "t-000003"]


@proves("QUEUE-001")
async def test_a_task_that_nobody_could_ever_begin_is_refused(q: Bench) -> None:
    now = q.clock.steady
    with pytest.raises(Invalid, match="deadline is over"):
        await q.submit(wanted(), wanted(deadline_at=now - 1))
    with pytest.raises(Invalid, match="deadline of a is before it may begin"):
        await q.submit(wanted(key="a", run_at=now + 20, deadline_at=now + 10))
    name = await q.add(dependents="cancel")
    await q.queue.give_up(by(await q.got()))
    with pytest.raises(Conflict, match=f"{name} is failed"):
        await q.submit(wanted(after=[name]))

    assert await q.statuses() == {name: "failed"}


@proves("QUEUE-001")
async def test_nobody_begins_a_task_after_its_deadline_and_who_has_begun_may_end_it(q: Bench) -> None:
    moment = q.clock.steady + 50
    await q.submit(
        wanted(deadline_at=moment, priority=1), wanted(key="a", deadline_at=moment, dependents="cancel"), wanted(after=["a"])
    )  # fmt: skip
    begun = await q.got()

    q.clock.go(50)

    assert await q.statuses() == {"t-000001": "claimed", "t-000002": "failed", "t-000003": "cancelled"}
    assert (await q.task("t-000002")).error_code == "deadline_exceeded"
    (found,) = (await q.queue.why(REPO, "t-000002")).in_the_way
    assert found.words == "it is failed: its deadline passed while nobody was at it"
    assert (await q.done(begun)).task.status is S.DONE


# --- those that wait ---------------------------------------------------------------------------------------------


@proves("QUEUE-005")
@pytest.mark.parametrize(
    ("dependents", "becomes"),
    [("block", ["blocked", "blocked"]), ("cancel", ["cancelled", "cancelled"]), ("continue", ["ready", "blocked"])],
)  # fmt: skip
async def test_a_task_says_what_its_failure_means_for_those_that_wait(
    q: Bench, dependents: str, becomes: list[str]
) -> None:
    await q.submit(wanted(key="a", dependents=dependents), wanted(key="b", after=["a"]), wanted(after=["b"]))

    answer = await q.queue.give_up(by(await q.got()), error_code="impossible")

    statuses = await q.statuses()
    assert [statuses["t-000002"], statuses["t-000003"]] == becomes
    assert len(answer.cancelled) == becomes.count("cancelled")
    assert len(answer.ready) == becomes.count("ready")


@proves("QUEUE-005")
async def test_a_dead_task_that_is_retried_brings_back_what_was_cancelled_with_it(q: Bench) -> None:
    await q.submit(
        wanted(key="a", dependents="cancel", tries=1), wanted(key="b", after=["a"]), wanted(key="x"),
        wanted(after=["b", "x"]),
    )  # fmt: skip
    await q.queue.fail(by(await q.got()))
    assert list((await q.statuses()).values()) == ["dead", "cancelled", "ready", "cancelled"]
    assert (await q.task("t-000004")).cause == 1

    answer = await q.queue.retry(REPO, "t-000001", by=PAULA, with_dependents=True)

    assert list((await q.statuses()).values()) == ["ready", "blocked", "ready", "blocked"]
    assert [task.name for task in answer.ready] == ["t-000001"]
    assert _hanging(answer) == [("t-000002", True, "blocked", "t-000001"), ("t-000004", True, "blocked", "t-000002 t-000003")]  # fmt: skip
    await q.done(await q.got())
    await q.done(await q.got())
    await q.done(await q.got())
    assert list((await q.statuses()).values()) == ["done", "done", "done", "ready"]


@proves("QUEUE-005")
async def test_a_retry_tells_what_it_leaves_behind_and_a_second_one_still_brings_it_back(q: Bench) -> None:
    await q.submit(
        wanted(key="a", dependents="cancel", tries=1), wanted(key="b", after=["a"]), wanted(after=["b"]),
        wanted(key="off", after=["a"]),
    )  # fmt: skip
    await q.queue.cancel(REPO, "t-000004", by=PAULA, reason="not needed")
    await q.queue.fail(by(await q.got()))

    alone = await q.queue.retry(REPO, "t-000001", by=PAULA)
    await q.submit(wanted(after=["t-000001"]))
    with_them = await q.queue.retry(REPO, "t-000001", by=PAULA, with_dependents=True)

    assert _hanging(alone) == [
        ("t-000002", False, "cancelled", "t-000001"),
        ("t-000003", False, "cancelled", "t-000002"),
        ("t-000004", False, "cancelled", "t-000001"),
    ]
    assert [one.because_of for one in alone.dependants] == ["t-000001", "t-000001", ""]
    assert _hanging(with_them) == [
        ("t-000002", True, "blocked", "t-000001"),
        ("t-000003", True, "blocked", "t-000002"),
        ("t-000004", False, "cancelled", "t-000001"),
        ("t-000005", False, "blocked", "t-000001"),
    ]
    assert with_them.ready == (), "it was so before"


def _hanging(answer: Answer) -> list[tuple[str, bool, str, str]]:
    return [
        (one.task.name, one.is_taken_up, one.task.status.value, " ".join(one.waits_for))
        for one in answer.dependants
    ]


@proves("QUEUE-005")
async def test_a_cancelled_task_learns_while_it_lies_there_what_it_need_not_wait_for(q: Bench) -> None:
    await q.submit(wanted(key="a"), wanted(key="b", after=["a"]))
    await q.queue.cancel(REPO, "t-000002", by=PAULA, reason="later")
    await q.done(await q.got())

    await q.queue.retry(REPO, "t-000002", by=PAULA)

    assert (await q.task("t-000002")).status is S.READY


async def test_a_task_that_depends_on_what_failed_before_waits_for_its_retry(q: Bench) -> None:
    failed, left = await q.add(), await q.add(dependents="continue")
    await q.queue.give_up(by(await q.got()))
    await q.queue.give_up(by(await q.got()))

    await q.submit(wanted(after=[failed]), wanted(after=[left]))

    assert await q.statuses() == {
        failed: "failed",
        left: "failed",
        "t-000003": "blocked",
        "t-000004": "ready",
    }
    (found,) = (await q.queue.why(REPO, "t-000003")).in_the_way
    assert (found.kind, found.on) == (ObstacleKind.FAILED, failed)


# --- calling off -------------------------------------------------------------------------------------------------


@proves("QUEUE-011")
async def test_who_works_on_a_task_that_is_called_off_hears_of_it_and_can_do_nothing_more(q: Bench) -> None:
    await q.submit(wanted(key="a"), wanted(after=["a"]))
    task = await q.got()
    await q.queue.heartbeat(by(task))

    answer = await q.queue.cancel(
        REPO, task.name, by=PAULA, reason="contract revision", dependents=Dependents.CANCEL
    )

    off = await q.task(task.name)
    assert (off.status, off.error_code) == (S.CANCELLED, CANCELLED_BY_ORCHESTRATOR)
    assert off.error_message == "Cancelled by orchestrator: contract revision"
    assert [one.name for one in answer.cancelled] == ["t-000002"]
    assert (await q.queue.heartbeat(by(task))).refusal is Refusal.CANCELLED
    assert (await q.done(task)).refusal is Refusal.CANCELLED
    assert (await q.queue.cancel(REPO, task.name, by=PAULA, reason="again")).refusal is Refusal.OVER
    told = next(event for event in q.told if event.kind == "task.cancelled")
    assert (told.agent, told.data["task"]) == (ANNA.id, task.name)


@proves("QUEUE-011")
async def test_a_holder_that_is_told_to_stop_by_convention_cancels_its_task(q: Bench) -> None:
    await q.add()
    task = await q.got()

    answer = await q.queue.give_up(by(task), error_code=CANCELLED_BY_ORCHESTRATOR, error_message="x")

    assert answer.task.status is S.CANCELLED


async def test_what_is_done_is_not_retried_and_what_goes_on_is_left_alone(q: Bench) -> None:
    await q.add()
    task = await q.got()
    before = await q.queue.see(REPO, task.name)

    assert (await q.queue.retry(REPO, task.name, by=PAULA)).task.status is S.CLAIMED
    assert await q.queue.see(REPO, task.name) == before
    await q.done(task)
    assert (await q.queue.retry(REPO, task.name, by=PAULA)).refusal is Refusal.OVER


async def test_who_wants_need_not_wait_for_the_end_of_a_pause(q: Bench) -> None:
    await q.add()
    await q.queue.fail(by(await q.got()))

    await q.queue.retry(REPO, "t-000001", by=PAULA)

    assert (await q.got()).failures == 0
