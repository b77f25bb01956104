"""Steps that can be taken back: whatever breaks, and wherever, nothing is left or it is named."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from envmgr.errors import Unavailable
from envmgr.model.lease import StepRecord, StepState
from envmgr.runtime.saga import Saga, Stage, StepFailed
from tests.support.requirements import proves
from tests.support.steps import How, MakeThing, MemoryJournal, World
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

Layout = Sequence[Sequence[str]]

SINGLE: Layout = (("a",), ("b",), ("c",), ("d",))
MIXED: Layout = (("a",), ("b", "c", "d"), ("e",), ("f", "g"))
EVERYWHERE = [
    pytest.param(layout, name, id=f"{kind}-{name}")
    for kind, layout in (("single", SINGLE), ("mixed", MIXED))
    for stage in layout
    for name in stage
]


def stages(layout: Layout, world: World, **odd: How) -> list[Stage]:
    """Steps of these names; `odd` says how some of them go."""
    return [[MakeThing(name, world, do=odd.get(name, How.WORKS)) for name in stage] for stage in layout]


def stage_of(layout: Layout, name: str) -> int:
    return next(number for number, stage in enumerate(layout) if name in stage)


def begun(layout: Layout, name: str) -> set[str]:
    """What has been started when `name` fails: its stage and all before it."""
    return {other for stage in layout[: stage_of(layout, name) + 1] for other in stage}


def assert_newest_first(undone: list[str], layout: Layout) -> None:
    order = [stage_of(layout, name) for name in undone]
    assert order == sorted(order, reverse=True)


# --- a run without trouble -------------------------------------------------------------------------------------


@proves("SAGA-001")
async def test_steps_run_stage_by_stage_and_their_receipts_are_returned() -> None:
    world, journal = World(), MemoryJournal()

    receipts = await Saga(journal).run(stages(MIXED, world))

    assert receipts == {name: {"made": name} for name in "abcdefg"}
    order = [stage_of(MIXED, name) for name in world.done()]
    assert order == sorted(order)
    assert world.undone() == []


@proves("SAGA-001")
async def test_steps_of_one_stage_run_side_by_side() -> None:
    met: set[str] = set()

    class Meets(MakeThing):
        async def do(self) -> dict[str, object]:
            met.add(self.name)
            await async_eventually(lambda: met == {"a", "b"})
            return {}

    world = World()
    await Saga(MemoryJournal()).run([[Meets("a", world), Meets("b", world)]])

    assert met == {"a", "b"}


@proves("SAGA-002")
async def test_the_journal_is_written_before_a_stage_starts_and_after_it_ends_and_knows_receipts() -> None:
    world, journal = World(), MemoryJournal()

    await Saga(journal).run(stages((("a",), ("b", "c")), world))

    def line(step: str, order: int, state: StepState) -> StepRecord:
        receipt = {"made": step} if state is StepState.FINISHED else None
        return StepRecord(step=step, order=order, state=state, receipt=receipt)

    started, finished = StepState.STARTED, StepState.FINISHED
    assert journal.commits == [
        (line("a", 0, started),),
        (line("a", 0, finished), line("b", 1, started), line("c", 2, started)),
        (line("b", 1, finished), line("c", 2, finished)),
    ]


@proves("SAGA-002")
async def test_a_step_is_in_the_journal_before_it_is_done() -> None:
    world, journal = World(), MemoryJournal()
    seen: list[dict[str, StepState]] = []

    class Looks(MakeThing):
        async def do(self) -> dict[str, object]:
            seen.append(journal.states())
            return {}

    await Saga(journal).run([[Looks("a", world)], [Looks("b", world)]])

    assert seen == [
        {"a": StepState.STARTED},
        {"a": StepState.FINISHED, "b": StepState.STARTED},
    ]


@proves("SAGA-006")
async def test_every_boundary_of_a_run_and_of_its_undo_is_a_point_where_a_crash_can_be_tried() -> None:
    points: list[str] = []
    world = World()

    with pytest.raises(StepFailed):
        await Saga(MemoryJournal(), reach=points.append).run(
            stages((("a",), ("b",)), world, b=How.FAILS_AFTER)
        )

    assert points == ["before-a", "after-a", "before-b", "undone-b", "undone-a"]


# --- a step fails ------------------------------------------------------------------------------------------------


@proves("SAGA-003")
@pytest.mark.parametrize(("layout", "name"), EVERYWHERE)
@pytest.mark.parametrize("how", [How.FAILS_BEFORE, How.FAILS_AFTER])
async def test_a_failing_step_is_named_and_every_started_one_is_undone_newest_first(
    layout: Layout, name: str, how: How
) -> None:
    world, journal = World(), MemoryJournal()

    with pytest.raises(StepFailed) as failed:
        await Saga(journal).run(stages(layout, world, **{name: how}))

    assert (failed.value.step, failed.value.leaked, str(failed.value.__cause__)) == (
        name,
        {},
        f"{name} broke",
    )
    assert world.things == set()
    assert set(world.done()) <= begun(layout, name)
    assert sorted(world.undone()) == sorted(begun(layout, name))
    assert_newest_first(world.undone(), layout)
    assert journal.states() == dict.fromkeys(begun(layout, name), StepState.UNDONE)


@proves("SAGA-003")
async def test_an_undo_gets_the_receipt_or_nothing_if_the_step_never_returned_one() -> None:
    world = World()

    with pytest.raises(StepFailed):
        await Saga(MemoryJournal()).run(stages((("a",), ("b",)), world, b=How.FAILS_AFTER))

    assert world.receipts == {"a": {"made": "a"}, "b": None}


@proves("SAGA-003")
@pytest.mark.parametrize("how", [How.HANGS_BEFORE, How.HANGS_AFTER])
async def test_a_failing_step_ends_its_stage_mates_at_once(how: How) -> None:
    world = World()

    with anyio.fail_after(5), pytest.raises(StepFailed) as failed:
        await Saga(MemoryJournal()).run(stages((("a", "b", "c"),), world, a=how, b=How.FAILS_AFTER))

    assert failed.value.step == "b"
    assert world.things == set()
    assert sorted(world.undone()) == ["a", "b", "c"]


@proves("SAGA-003")
async def test_when_two_of_a_stage_fail_the_first_one_is_named() -> None:
    world = World()

    with pytest.raises(StepFailed) as failed:
        await Saga(MemoryJournal()).run(stages((("a", "b"),), world, a=How.FAILS_AFTER, b=How.FAILS_BEFORE))

    assert (failed.value.step, str(failed.value.__cause__)) == ("b", "b broke")


# --- an undo fails -----------------------------------------------------------------------------------------------


@proves("SAGA-004")
@pytest.mark.parametrize("name", ["a", "b", "c"])
@pytest.mark.parametrize(
    ("how", "reason", "is_left"),
    [
        (How.FAILS_BEFORE, "{} stays", True),
        (How.FAILS_AFTER, "RuntimeError: {} stays", False),
        (How.HANGS_BEFORE, "its undo did not end within 0.05 s", True),
    ],
)
async def test_what_cannot_be_undone_is_named_with_the_reason_and_the_other_undos_still_run(
    name: str,
    how: How,
    reason: str,
    is_left: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    world, journal = World(), MemoryJournal()
    steps = [MakeThing(each, world, undo=how if each == name else How.WORKS) for each in "abc"]
    last = MakeThing("d", world, do=How.FAILS_AFTER)

    with pytest.raises(StepFailed) as failed:
        await Saga(journal, undo_s=0.05).run([[step] for step in [*steps, last]])

    assert (failed.value.step, failed.value.leaked) == ("d", {name: reason.format(name)})
    assert world.undone() == ["d", "c", "b", "a"]
    assert world.things == ({name} if is_left else set())
    assert journal.last()[name].state is StepState.LEAKED
    assert journal.last()[name].error == reason.format(name)
    assert [n for n, state in journal.states().items() if state is StepState.UNDONE] == [
        n for n in "abcd" if n != name
    ]


@proves("SAGA-004")
async def test_a_time_out_inside_of_an_undo_is_not_taken_for_its_deadline() -> None:
    class Slow(MakeThing):
        async def undo(self, receipt: object) -> None:
            raise TimeoutError("connect")

    with pytest.raises(StepFailed) as failed:
        await Saga(MemoryJournal()).run([[Slow("a", World(), do=How.FAILS_AFTER)]])

    assert failed.value.leaked == {"a": "TimeoutError: connect"}


# --- cancelled ---------------------------------------------------------------------------------------------------


@proves("SAGA-005")
@pytest.mark.parametrize(("layout", "name"), EVERYWHERE)
@pytest.mark.parametrize("how", [How.HANGS_BEFORE, How.HANGS_AFTER])
async def test_a_cancelled_run_undoes_all_it_has_started_and_stays_cancelled(
    layout: Layout, name: str, how: How
) -> None:
    world, journal = World(), MemoryJournal()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(Saga(journal).run, stages(layout, world, **{name: how}))
            await async_eventually(lambda: set(world.done()) == begun(layout, name))
            scope.cancel()

    assert scope.cancelled_caught
    assert world.things == set()
    assert sorted(world.undone()) == sorted(begun(layout, name))
    assert_newest_first(world.undone(), layout)
    assert set(journal.states().values()) == {StepState.UNDONE}


@proves("SAGA-005")
async def test_an_undo_is_not_cut_off_by_cancelling_again() -> None:
    world = World()

    class Long(MakeThing):
        async def undo(self, receipt: object) -> None:
            scope.cancel()
            await anyio.sleep(0.05)
            self._world.things.discard(self.name)

    with anyio.CancelScope() as scope, pytest.raises(StepFailed):
        await Saga(MemoryJournal()).run([[Long("a", world)], [MakeThing("b", world, do=How.FAILS_AFTER)]])

    assert world.things == set()


# --- the journal fails -------------------------------------------------------------------------------------------


@proves("SAGA-007")
@pytest.mark.parametrize("write", range(5))
@pytest.mark.parametrize("times", [1, 100], ids=["once", "for good"])
async def test_a_journal_that_cannot_be_written_fails_the_run_and_everything_is_undone(
    write: int, times: int
) -> None:
    world = World()

    with pytest.raises(StepFailed) as failed:
        await Saga(MemoryJournal(breaks_at=write, times=times)).run(stages(SINGLE, world))

    assert failed.value.step == "journal"
    assert isinstance(failed.value.__cause__, Unavailable)
    assert world.things == set()
    assert world.undone() == ["d", "c", "b", "a"][max(0, 3 - write) :]


@proves("SAGA-007")
async def test_a_journal_that_breaks_during_the_undo_does_not_end_the_undo() -> None:
    world = World()

    with pytest.raises(StepFailed) as failed:
        await Saga(MemoryJournal(breaks_at=4, times=2)).run(stages(SINGLE, world, d=How.FAILS_AFTER))

    assert (failed.value.step, failed.value.leaked) == ("d", {})
    assert world.things == set()
    assert world.undone() == ["d", "c", "b", "a"]


# --- after a crash -----------------------------------------------------------------------------------------------


@proves("SAGA-006")
async def test_the_trail_of_a_crashed_run_is_undone_newest_first_with_its_receipts() -> None:
    world = World(things={"a", "b", "c"})
    journal = MemoryJournal()
    steps = [MakeThing(name, world) for name in "abc"]

    leaked = await Saga(journal).undo(steps, {"a": {"made": "a"}, "b": {"made": "b"}})

    assert leaked == {}
    assert world.undone() == ["c", "b", "a"]
    assert world.receipts == {"a": {"made": "a"}, "b": {"made": "b"}, "c": None}
    assert journal.states() == dict.fromkeys("abc", StepState.UNDONE)


@proves("SAGA-006")
async def test_undoing_twice_is_harmless() -> None:
    world = World(things={"a"})
    step = MakeThing("a", world)

    await Saga(MemoryJournal()).undo([step])
    leaked = await Saga(MemoryJournal()).undo([step])

    assert (leaked, world.things) == ({}, set())
