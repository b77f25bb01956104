"""Locks on a real store: taking, waiting, ending. What they must never do is in tests/property/test_lock_laws.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from envmgr.core.derived_keys import parse_rule
from envmgr.model.lock import Answer, LockPolicy, Mode, Outcome, Priority
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.services.lock_desk import NOT_HELD, STALE
from envmgr.services.locks import LockRequest
from tests.support.grounds import Locksmith, agent, locksmith
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

REPO = "/repo"
ANN, BOB, CYD = agent("ann"), agent("bob"), agent("cyd")


@pytest.fixture
async def smith(tmp_path: Path) -> AsyncIterator[Locksmith]:
    async with locksmith(tmp_path) as smith:
        yield smith


async def ask(
    smith: Locksmith,
    who: Principal,
    *targets: str,
    mode: Mode = Mode.WRITE,
    wait_s: float = 0.0,
    ttl_s: float = 0.0,
    priority: Priority = Priority.NORMAL,
    reason: str = "",
) -> Answer:
    request = LockRequest(
        principal=who,
        repo=REPO,
        targets=targets,
        mode=mode,
        ttl_s=ttl_s,
        priority=priority,
        reason=reason,
    )
    return await smith.desk.acquire(request, wait_s=wait_s)


async def held(smith: Locksmith) -> list[str]:
    return [
        f"{grant.name} {grant.target}" for grant in await smith.store.read(lambda tx: smith.locks.held(tx))
    ]


async def in_line(smith: Locksmith, count: int) -> None:
    await async_eventually(lambda: len(smith.locks.line.wishes()) == count)


@proves("LOCK-005")
async def test_a_set_is_granted_whole_or_not_at_all(smith: Locksmith) -> None:
    await ask(smith, ANN, "src/app.py", reason="rename")

    refused = await ask(smith, BOB, "docs", "src/*.py", "db:users")

    assert refused.outcome is Outcome.CONFLICT
    (conflict,) = refused.conflicts
    assert (conflict.target, conflict.grant.target, conflict.grant.reason) == (
        "src/*.py",
        "src/app.py",
        "rename",
    )
    assert conflict.example == "src/app.py"
    assert await held(smith) == ["ann src/app.py"]
    assert (await ask(smith, BOB, "docs", "db:users")).outcome is Outcome.GRANTED


@proves("LOCK-006")
async def test_asking_again_refreshes_and_keeps_the_token(smith: Locksmith) -> None:
    (first,) = (await ask(smith, ANN, "a")).grants
    smith.now += 200

    again = await ask(smith, ANN, "a", "b")

    assert again.grants[0].token == first.token
    assert again.grants[0].expires_at == smith.now + 300
    assert again.refreshed == {"a"}
    assert again.grants[1].token > first.token


@proves("LOCK-006")
async def test_widening_checks_only_what_is_new(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")
    await ask(smith, BOB, "b", mode=Mode.READ)

    assert (await ask(smith, ANN, "a", "b")).conflicts[0].target == "b"
    assert (await ask(smith, ANN, "a", "b", mode=Mode.READ)).outcome is Outcome.GRANTED


@proves("LOCK-006")
async def test_a_stronger_mode_needs_a_new_token(smith: Locksmith) -> None:
    (weak,) = (await ask(smith, ANN, "a", mode=Mode.INTENT)).grants
    (others,) = (await ask(smith, BOB, "a")).grants
    await smith.desk.release(BOB, REPO, ["a"])

    (strong,) = (await ask(smith, ANN, "a")).grants

    assert strong.token > others.token > weak.token
    assert await held(smith) == ["ann a"]


@proves("LOCK-007")
async def test_announcements_keep_nobody_out_and_warn(smith: Locksmith) -> None:
    await ask(smith, ANN, "src", mode=Mode.INTENT, reason="big move")

    granted = await ask(smith, BOB, "src/a.py")

    assert granted.outcome is Outcome.GRANTED
    assert [(one.grant.name, one.grant.reason) for one in granted.warnings] == [("ann", "big move")]


@proves("LOCK-008")
async def test_who_works_for_somebody_is_let_in_and_strangers_are_not(smith: Locksmith) -> None:
    await ask(smith, ANN, "src")

    assert (await ask(smith, agent("kid", parent="ann"), "src/a.py")).outcome is Outcome.GRANTED
    assert (await ask(smith, BOB, "src/b.py")).outcome is Outcome.CONFLICT


@proves("LOCK-009")
async def test_the_next_in_line_gets_it_when_it_is_released(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")
    answers: list[Answer] = []

    async def wait(who: Principal) -> None:
        answers.append(await ask(smith, who, "a", wait_s=20))

    async with anyio.create_task_group() as group:
        for place, who in enumerate((BOB, CYD), start=1):
            group.start_soon(wait, who)
            await in_line(smith, place)
        assert not (await smith.desk.release(ANN, REPO, ["a"])).refused
        await async_eventually(lambda: len(answers) == 1)
        assert await held(smith) == ["bob a"]
        await smith.desk.release(BOB, REPO, ["a"])

    assert [answer.grants[0].name for answer in answers] == ["bob", "cyd"]
    assert smith.kinds().count("lock.waiting") == 2


@proves("LOCK-009")
async def test_a_waiting_writer_is_not_overtaken_by_readers(smith: Locksmith) -> None:
    await ask(smith, ANN, "a", mode=Mode.READ)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(smith, BOB, "a", wait_s=20))
        await in_line(smith, 1)

        refused = await ask(smith, CYD, "a", mode=Mode.READ)

        assert refused.conflicts[0].is_waiting
        assert refused.conflicts[0].grant.name == "bob"
        await smith.desk.release(ANN, REPO, ["a"])
    assert await held(smith) == ["bob a"]


@proves("LOCK-010")
async def test_a_better_class_comes_first_and_waiting_makes_up_for_it(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")
    order: list[str] = []

    async def wait(who: Principal, priority: Priority) -> None:
        await ask(smith, who, "a", wait_s=20, priority=priority)
        order.append(who.name)
        await smith.desk.release(who, REPO, ["a"])

    async with anyio.create_task_group() as group:
        for place, (who, priority) in enumerate(
            [(agent("old"), Priority.LOW), (BOB, Priority.NORMAL), (CYD, Priority.HIGH)], start=1
        ):
            group.start_soon(wait, who, priority)
            await in_line(smith, place)
            # Two minutes are worth two classes: the old one is as good as the best, and came first.
            smith.now += 120 if who.name == "old" else 0
        await smith.desk.release(ANN, REPO, ["a"])

    assert order == ["old", "cyd", "bob"]


@proves("LOCK-011")
async def test_a_wait_ends_with_its_time_or_its_caller(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")

    late = await ask(smith, BOB, "a", wait_s=0.05)

    assert (late.outcome, late.position) == (Outcome.QUEUED, 1)
    assert not smith.locks.line.wishes()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(smith, BOB, "a", wait_s=20))
        await in_line(smith, 1)
        group.cancel_scope.cancel()
    assert not smith.locks.line.wishes()
    await smith.desk.release(ANN, REPO, ["a"])
    assert await held(smith) == []


@proves("LOCK-011")
async def test_what_is_granted_to_one_who_has_left_is_taken_back(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(smith, BOB, "a", wait_s=20))
        await in_line(smith, 1)
        (waiter,) = smith.locks.line.wishes()
        await smith.desk.release(ANN, REPO, ["a"])
        # The grant is on its way to the waiter, who goes just now.
        group.cancel_scope.cancel()

    assert waiter.holder == "bob"
    assert await held(smith) == []
    assert not smith.locks.line.wishes()


@proves("LOCK-012")
async def test_the_wait_that_would_close_a_circle_is_refused_with_the_circle(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")
    await ask(smith, BOB, "db:users")
    await ask(smith, CYD, "c")
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(smith, ANN, "db:*", wait_s=20))
        await in_line(smith, 1)
        group.start_soon(lambda: ask(smith, BOB, "c", wait_s=20))
        await in_line(smith, 2)

        refused = await ask(smith, CYD, "a", wait_s=20)

        assert refused.outcome is Outcome.DEADLOCK
        assert [(link.name, link.target, link.blocker_name, link.held) for link in refused.cycle] == [
            ("cyd", "a", "ann", "a"),
            ("ann", "db:*", "bob", "db:users"),
            ("bob", "c", "cyd", "c"),
        ]
        assert len(smith.locks.line.wishes()) == 2
        await smith.desk.release(CYD, REPO, ["c"])
        await async_eventually(lambda: len(smith.locks.line.wishes()) == 1)
        await smith.desk.release(BOB, REPO, ["db:users"])


@proves("LOCK-012")
async def test_who_holds_what_others_wait_for_may_overtake_them(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(smith, BOB, "a", "b", wait_s=20))
        await in_line(smith, 1)

        # To be kept from `b` by one who waits for `a` would be a circle.
        assert (await ask(smith, ANN, "b")).outcome is Outcome.GRANTED
        assert (await ask(smith, CYD, "b")).outcome is Outcome.CONFLICT
        await smith.desk.release(ANN, REPO, ["a", "b"])
    assert await held(smith) == ["bob a", "bob b"]


@proves("LOCK-013")
async def test_tokens_go_on_growing_after_a_restart(tmp_path: Path) -> None:
    async with locksmith(tmp_path) as smith:
        (first,) = (await ask(smith, ANN, "a")).grants
        await smith.desk.release(ANN, REPO, ["a"])

    async with locksmith(tmp_path) as smith:
        (second,) = (await ask(smith, ANN, "a")).grants

        assert second.token > first.token
        assert await smith.store.read(lambda tx: smith.locks.check(tx, first.token)) is None
        assert (await smith.desk.release(ANN, REPO, ["a"], token=first.token)).refused == (("a", STALE),)
        assert (await smith.desk.renew(ANN, REPO, ["a"], token=first.token)).refused == (("a", STALE),)
        assert await held(smith) == ["ann a"]


@proves("LOCK-014")
async def test_after_its_time_only_the_holder_may_renew_for_a_while(smith: Locksmith) -> None:
    await ask(smith, ANN, "a", ttl_s=60)
    smith.wall += 1_000_000  # a wall clock that is set changes nothing
    smith.now += 69

    assert (await ask(smith, BOB, "a")).outcome is Outcome.CONFLICT
    assert not (await smith.desk.renew(ANN, REPO, ["a"], ttl_s=60)).refused
    smith.now += 69
    assert not await smith.keeping.expire()
    smith.now += 1
    assert (await ask(smith, BOB, "a")).outcome is Outcome.GRANTED
    assert (await smith.desk.renew(ANN, REPO, ["a"])).refused == (("a", NOT_HELD),)
    assert "lock.expired" in smith.kinds()


@proves("LOCK-014")
async def test_signs_of_life_prolong_and_survive_the_daemon(smith: Locksmith) -> None:
    await ask(smith, ANN, "a", ttl_s=60)
    await ask(smith, BOB, "b", ttl_s=60)
    for _ in range(5):
        smith.now += 30
        smith.locks.seen("ann")
    await smith.keeping.write_down_signs()

    await smith.keeping.expire()

    assert await held(smith) == ["ann a"]
    smith.open()  # another daemon knows of no signs of life but those written down
    smith.now += 60 + 9
    assert await held(smith) == ["ann a"]


@proves("LOCK-014")
async def test_signs_of_life_cost_no_write_each(smith: Locksmith) -> None:
    await ask(smith, ANN, "a", ttl_s=60)
    smith.now += 6
    smith.locks.seen("ann")

    assert await smith.keeping.write_down_signs() == 0  # what is won is not worth it yet
    smith.now += 20
    smith.locks.seen("ann")
    assert await smith.keeping.write_down_signs() == 1
    assert await smith.keeping.write_down_signs() == 0


@proves("LOCK-014")
async def test_a_restart_gives_everybody_time_to_come_back(smith: Locksmith) -> None:
    await ask(smith, ANN, "a", ttl_s=60)
    smith.now += 3600

    smith.open()

    smith.now += 9
    assert (await ask(smith, BOB, "a")).outcome is Outcome.CONFLICT
    smith.now += 1
    assert (await ask(smith, BOB, "a")).outcome is Outcome.GRANTED


@proves("LOCK-015")
async def test_a_session_takes_with_it_only_its_own(smith: Locksmith) -> None:
    one, two = agent("ann", session="s1"), agent("ann", session="s2")
    await ask(smith, one, "mine")
    await ask(smith, one, "ours")
    await ask(smith, two, "ours")
    await ask(smith, ANN, "nobodys")

    await smith.locks.ground.write(lambda tx, tell: smith.locks.end_session(tx, tell, "ann", "s1"))

    assert await held(smith) == ["ann ours", "ann nobodys"]
    await smith.locks.ground.write(lambda tx, tell: smith.locks.end_session(tx, tell, "ann", "s2"))
    assert await held(smith) == ["ann nobodys"]


@proves("LOCK-016")
async def test_a_task_takes_its_locks_with_it_but_not_what_was_asked_for_beside_it(smith: Locksmith) -> None:
    for_task = LockRequest(principal=ANN, repo=REPO, targets=("a", "b"), task="t-1")
    await smith.locks.ground.write(lambda tx, tell: smith.locks.take(tx, tell, for_task))
    await ask(smith, ANN, "b")

    await smith.locks.ground.write(lambda tx, tell: smith.locks.end_task(tx, tell, "t-1"))

    assert await held(smith) == ["ann b"]


@proves("LOCK-017")
async def test_a_run_that_is_over_loses_its_locks_and_a_new_one_gets_new_tokens(smith: Locksmith) -> None:
    lives = {"ann": "1/11", "bob": "1/12"}
    smith.open(life=lambda agent: lives.get(agent, ""))
    (old,) = (await ask(smith, ANN, "a")).grants
    await ask(smith, BOB, "b")
    lives["ann"] = "1/99"

    (new,) = (await ask(smith, ANN, "a")).grants
    gone = await smith.keeping.release_dead(lambda holder, life: "killed" if life != lives[holder] else "")

    assert new.token > old.token
    assert not gone
    lives["ann"] = "2/5"
    gone = await smith.keeping.release_dead(lambda holder, life: "killed" if life != lives[holder] else "")
    assert [grant.target for grant in gone] == ["a"]
    assert smith.told[-1].kind == "lock.lost"
    assert smith.told[-1].data["why"] == "killed"
    assert await held(smith) == ["bob b"]


@proves("LOCK-018")
async def test_a_transfer_fences_the_giver_and_tells_the_receiver(smith: Locksmith) -> None:
    (mine,) = (await ask(smith, ANN, "a", reason="half done")).grants

    (theirs,) = (await smith.desk.transfer(ANN, REPO, ["a"], to=BOB)).grants

    assert theirs.token > mine.token
    assert theirs.reason == "half done"
    assert (await smith.desk.release(ANN, REPO, ["a"])).refused == (("a", NOT_HELD),)
    assert [(event.kind, event.agent) for event in smith.told] == [
        ("lock.transferred", "ann"),
        ("lock.received", "bob"),
    ]


@proves("LOCK-018")
async def test_a_part_is_not_given_away_from_under_the_rest(smith: Locksmith) -> None:
    await ask(smith, ANN, "src", "src/a.py")

    assert (await smith.desk.transfer(ANN, REPO, ["src"], to=BOB)).refused == (("src", "locked_by_other"),)
    assert not (await smith.desk.transfer(ANN, REPO, ["src", "src/a.py"], to=BOB)).refused


@proves("LOCK-018")
async def test_who_waits_for_what_is_given_to_them_need_not_wait_any_more(smith: Locksmith) -> None:
    await ask(smith, ANN, "a")
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: ask(smith, BOB, "a", wait_s=20))
        await in_line(smith, 1)

        await smith.desk.transfer(ANN, REPO, ["a"], to=BOB)

    assert await held(smith) == ["bob a"]


@proves("LOCK-019")
async def test_a_forced_release_tells_the_former_holder_and_fences_the_token(smith: Locksmith) -> None:
    (mine,) = (await ask(smith, ANN, "a")).grants

    await smith.desk.force(REPO, ["a"], by="root", reason="release day")

    (event,) = smith.told
    assert (event.kind, event.agent) == ("lock.forced", "ann")
    assert event.data["why"] == "root: release day"
    assert await smith.store.read(lambda tx: smith.locks.check(tx, mine.token)) is None


@proves("LOCK-013")
async def test_a_token_stands_for_one_target_and_for_nothing_else_that_is_named_with_it(
    smith: Locksmith,
) -> None:
    one, other = (await ask(smith, ANN, "a", "b")).grants

    refused = await smith.desk.release(ANN, REPO, ["a", "b"], token=one.token)

    assert refused.refused == (("b", STALE),)
    assert await held(smith) == ["ann a", "ann b"]
    assert not (await smith.desk.release(ANN, REPO, ["b"], token=other.token)).refused


@proves("LOCK-020")
async def test_a_folder_gives_back_all_that_is_held_inside(smith: Locksmith) -> None:
    await ask(smith, ANN, "src/a.py", "src/x/b.py", "docs/i.md")
    await ask(smith, BOB, "src/c.py")

    done = await smith.desk.release(ANN, REPO, ["src"])

    assert sorted(grant.target for grant in done.grants) == ["src/a.py", "src/x/b.py"]
    assert await held(smith) == ["ann docs/i.md", "bob src/c.py"]
    assert [grant.target for grant in (await smith.desk.release(ANN, REPO, [])).grants] == ["docs/i.md"]


@proves("LOCK-021")
async def test_keys_come_and_go_with_the_paths_that_bring_them(tmp_path: Path) -> None:
    rules = (parse_rule("migrations/** -> db:migration-slot"),)
    async with locksmith(tmp_path, rules=lambda repo: rules) as smith:
        granted = await ask(smith, ANN, "migrations/1.sql", "migrations/2.sql")

        assert [grant.target for grant in granted.grants][2:] == ["db:migration-slot"]
        refused = await ask(smith, BOB, "migrations/3.sql")
        assert [conflict.target for conflict in refused.conflicts] == ["db:migration-slot"]
        await smith.desk.release(ANN, REPO, ["migrations/1.sql"])
        assert await held(smith) == ["ann migrations/2.sql", "ann db:migration-slot"]
        await smith.desk.release(ANN, REPO, ["migrations/2.sql"])
        assert await held(smith) == []


@proves("LOCK-022")
async def test_sixty_four_at_once_each_get_their_turn(smith: Locksmith) -> None:
    inside, most, turns = 0, 0, 0

    async def work(number: int) -> None:
        nonlocal inside, most, turns
        who = agent(f"agent-{number}")
        answer = await ask(smith, who, "src/app.py", f"own/{number}", wait_s=50)
        assert answer.outcome is Outcome.GRANTED
        inside, turns = inside + 1, turns + 1
        most = max(most, inside)
        await anyio.lowlevel.checkpoint()
        inside -= 1
        await smith.desk.release(who, REPO, [])

    with anyio.fail_after(50):
        async with anyio.create_task_group() as group:
            for number in range(64):
                group.start_soon(work, number)

    assert (turns, most) == (64, 1)
    assert await held(smith) == []


@proves("LOCK-022")
async def test_thousands_of_locks_elsewhere_cost_nothing(smith: Locksmith) -> None:
    for start in range(0, 4000, 200):
        await ask(smith, ANN, *(f"gen/d{number % 50}/f{number}.py" for number in range(start, start + 200)))

    read = await smith.store.read(lambda tx: len(smith.locks.near(tx, REPO, "gen/d7/other.py")))

    assert read == 0
    assert (await ask(smith, BOB, "gen/d7/other.py")).outcome is Outcome.GRANTED
    assert (await ask(smith, BOB, "gen/d7")).outcome is Outcome.CONFLICT


@proves("LOCK-009")
async def test_a_wake_up_that_was_missed_is_made_up_for(tmp_path: Path) -> None:
    async with locksmith(tmp_path, LockPolicy(ttl_s=60)) as smith:
        await ask(smith, ANN, "a")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ask(smith, BOB, "a", wait_s=20))
            await in_line(smith, 1)
            await smith.store.write(lambda tx: tx.locks.drop(1))  # and nobody tells

            assert await smith.keeping.wake_waiting() == 1

        assert await held(smith) == ["bob a"]


@proves("LOCK-008")
async def test_people_and_programs_hold_locks_too(smith: Locksmith) -> None:
    person = Principal(kind=PrincipalKind.PERSON, name="eve")

    await ask(smith, person, "a")

    gone = await smith.keeping.release_dead(lambda holder, life: "" if ":" in holder else "gone")
    assert not gone
    assert (await ask(smith, ANN, "a")).conflicts[0].grant.holder == "person:eve"
