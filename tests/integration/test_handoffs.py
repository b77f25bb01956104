"""Handoffs on a real store and a real worktree: written by agents, made for those that cannot, and told to who goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from envmgr.aio import blocking
from envmgr.assistants.command import CommandAssistant
from envmgr.core import handing_over
from envmgr.errors import NotFound, UsageError
from envmgr.model.handoff import Handoff, HandoffKind, Talk, handoff_name
from envmgr.model.lock import LockPolicy, Mode
from envmgr.model.principal import AGENT_SCOPES, Principal, PrincipalKind
from envmgr.model.spec import Origin, SecretRef, SecretSource
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.introducing import note_file
from envmgr.runtime.leaving import handoff_ref, leave
from envmgr.runtime.steps.introduction import introduce
from envmgr.services.handoffs import Handoffs
from envmgr.services.locks import LockRequest, Locks
from tests.support.clocked import REPO, Clock, ground
from tests.support.git import git, write
from tests.support.requirements import proves
from tests.support.worktrees import with_worktree

pytestmark = pytest.mark.anyio

FOX = Principal(kind=PrincipalKind.AGENT, name="fox", agent="f0x", scopes=frozenset(AGENT_SCOPES))
OWL = Principal(kind=PrincipalKind.AGENT, name="owl", agent="0wl", scopes=frozenset(AGENT_SCOPES))


def draft(summary: str, **more: object) -> Handoff:
    return replace(Handoff(repo=REPO, agent=FOX.id, agent_name="fox", summary=summary), **more)  # type: ignore[arg-type]


# --- written by agents ------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def handoffs(tmp_path: Path, clock: Clock) -> AsyncIterator[Handoffs]:
    async with ground(tmp_path, clock) as stand:
        yield Handoffs(ground=stand, locks=Locks(stand, LockPolicy()))


async def lock(handoffs: Handoffs, who: Principal, target: str) -> None:
    asked = LockRequest(principal=who, repo=REPO, targets=(target,), mode=Mode.WRITE)
    assert (await handoffs.ground.write(lambda tx, tell: handoffs.locks.take(tx, tell, asked))).grants


async def holders(handoffs: Handoffs) -> dict[str, str]:
    return await handoffs.ground.read(lambda tx: {g.target: g.holder for g in handoffs.locks.held(tx, REPO)})


@proves("HAND-001")
async def test_the_newest_that_fits_is_read_and_secrets_are_not_in_it(
    handoffs: Handoffs, clock: Clock
) -> None:
    await handoffs.write(draft("first", tasks=("t-1",)), by=FOX)
    clock.pass_by(60)
    second = await handoffs.write(
        draft("second, password=hunter2hunter2", next_steps=("use corge-grault",)),
        by=FOX,
        secrets={"corge-grault"},
    )
    clock.pass_by(60)
    await handoffs.write(replace(draft("other agent"), agent=OWL.id, agent_name="owl"), by=OWL)
    await handoffs.write(replace(draft("other repository"), repo="/other"), by=FOX)

    assert [one.summary for one in await handoffs.read(REPO)] == ["other agent"]
    (mine,) = await handoffs.read(REPO, agent="fox")
    assert (mine.summary, mine.next_steps) == ("second, password=********", ("use ********",))
    assert [one.summary for one in await handoffs.read(REPO, task="t-1")] == ["first"]
    older = await handoffs.read(REPO, agent=FOX.id, before=handoff_name(second.handoff.id), limit=9)
    assert [one.summary for one in older] == ["first"]
    with pytest.raises(NotFound):
        await handoffs.one("/other", handoff_name(second.handoff.id))


@proves("HAND-002")
async def test_locks_are_named_and_go_to_whom_it_is_for_under_new_tokens(
    handoffs: Handoffs, clock: Clock
) -> None:
    for target in ("src/a.py", "db:users"):
        await lock(handoffs, FOX, target)
    await lock(handoffs, OWL, "src/b.py")

    kept = await handoffs.write(draft("I keep them"), by=FOX)
    assert sorted(kept.handoff.locks) == ["db:users", "src/a.py"]
    assert kept.transferred == ()

    given = await handoffs.write(draft("take them"), by=FOX, to=OWL, transfers_locks=True)
    assert sorted(given.transferred) == ["db:users", "src/a.py"]
    assert set((await holders(handoffs)).values()) == {OWL.id}
    assert {"lock.transferred", "lock.received", "handoff.received"} <= set(clock.kinds())
    with pytest.raises(UsageError):
        await handoffs.write(draft("to nobody"), by=FOX, transfers_locks=True)
    with pytest.raises(UsageError):
        await handoffs.write(draft(" \x00"), by=FOX)


@proves("HAND-001")
def test_as_text_it_keeps_within_what_a_model_reads_at_its_start() -> None:
    long = tuple(f"{number} " + "word " * 200 for number in range(60))
    text = handing_over.text(
        draft("s" * 9000, completed=long, next_steps=long, files=long, tail="t" * 9000), when="now"
    )

    assert len(text) <= handing_over.MOST_CHARS
    for part in ("### Done", "### Next steps", "### Files", "### The end of what was said"):
        assert part in text
    assert "... and 58 more" in text


# --- made for agents --------------------------------------------------------------------------------------------


class Talking(CommandAssistant):
    """A command whose conversation can be read."""

    converses: ClassVar[bool] = True


async def newest(inc: Incarnation) -> Handoff:
    (found,) = await inc.systems.store.read(lambda tx: tx.handoffs.newest(agent=inc.id))
    return found


def work_in(tree: Path) -> None:
    write(tree, {"done.py": "1\n"})
    git(tree, "add", "done.py")
    git(tree, "commit", "-q", "-m", "Add the parser")
    write(tree, {"open.py": "2\n"})


@proves("HAND-003")
async def test_what_git_and_the_conversation_tell_is_left_when_an_assistant_dies(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        await blocking.act("file", work_in, inc.path)
        talk = Talk(
            asked=("Build a parser",), said=("Half done, token=abcdefgh12345",), doing=("render",), planned=("document",),
            files=(str(inc.path / "open.py"), "/elsewhere"),
        )  # fmt: skip
        kind = inc.spec.assistant.kind
        inc.systems = replace(
            inc.systems, talks={kind: lambda env, conversation: talk}, assistants={kind: Talking()}
        )

        await leave(inc, HandoffKind.CRASH, "it was killed")

        left = await newest(inc)
        assert left.kind is HandoffKind.CRASH
        assert "it was killed" in left.summary
        assert left.completed == ("commit: Add the parser",)
        assert "Build a parser" in left.summary
        assert "Half done, token=********" in left.summary
        assert left.in_progress == ("render", "not committed: open.py")
        assert left.next_steps == ("document",)
        assert left.files[:2] == ("open.py", "done.py")
        assert left.head == git(inc.path, "rev-parse", "HEAD").strip()
        assert left.snapshot == handoff_ref(inc)
        assert git(inc.path, "show", f"{left.snapshot}:open.py") == "2"


@proves("HAND-003")
async def test_the_same_end_is_written_once_and_another_one_of_the_generation_takes_its_place(
    tmp_path: Path,
) -> None:
    async with with_worktree(tmp_path) as inc:
        await leave(inc, HandoffKind.STOP, "first")
        await leave(inc, HandoffKind.STOP, "noticed by somebody else")
        first = await newest(inc)
        assert first.reason == "first"

        inc.systems = replace(inc.systems, now=lambda: first.at + 60)
        await leave(inc, HandoffKind.STOP, "again")

        again = await newest(inc)
        assert (again.id, again.reason) == (first.id, "again")

        inc.systems = replace(inc.systems, now=lambda: first.at - 3600)
        await leave(inc, HandoffKind.STOP, "after the clock was set back")
        assert (await newest(inc)).reason == "after the clock was set back"


@proves("HAND-003")
async def test_what_programs_wrote_is_left_out_while_secrets_in_it_cannot_be_told(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        inc.spec = replace(inc.spec, secrets=(SecretRef(name="key", source=SecretSource.ENV, key="NO_SUCH"),))
        inc.systems = replace(inc.systems, secrets=_missing)

        await leave(inc, HandoffKind.CRASH, "killed", screen="the key is s3cr3t")

        assert (await newest(inc)).tail == ""


def _missing(*_: object) -> dict[str, str]:
    raise UsageError("NO_SUCH is not set")


@proves("HAND-003")
async def test_a_screen_is_left_where_nothing_better_is_known_and_masked(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        await leave(
            inc, HandoffKind.CRASH, "killed", screen="$ make\n\n------\nerror: password=hunter2hunter2\n"
        )

        assert (await newest(inc)).tail == "$ make\nerror: password=********"


@proves("HAND-004")
async def test_an_assistant_is_told_at_its_start_what_was_left_for_it(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        inc.home.mkdir(parents=True, exist_ok=True)
        file = await introduce(inc)
        assert await blocking.look("file", 5, file.read_text) == ""

        store = inc.systems.store
        at = inc.systems.now()
        own = Handoff(repo=inc.spec.repo, agent=inc.id, summary="I had chosen SQLite", at=at - 60)
        await store.write(lambda tx: tx.handoffs.add(own))
        await leave(inc, HandoffKind.CRASH, "it was killed")
        await blocking.act("file", note_file(inc, 1).write_text, "# You were started again\n")

        text = await blocking.look("file", 5, (await introduce(inc)).read_text)

        assert (
            text.index("You were started again") < text.index("it was killed") < text.index("chosen SQLite")
        )


@proves("HAND-004")
async def test_a_fork_and_an_agent_on_the_same_branch_are_told_what_the_other_one_left(
    tmp_path: Path,
) -> None:
    async with with_worktree(tmp_path) as inc:
        inc.home.mkdir(parents=True, exist_ok=True)
        at = inc.systems.now()
        left = Handoff(
            repo=inc.spec.repo, agent="another", agent_name="heron", branch="agent/heron", summary="of heron", at=at
        )  # fmt: skip
        await inc.systems.store.write(lambda tx: tx.handoffs.add(left))

        async def told() -> str:
            return await blocking.look("file", 5, (await introduce(inc)).read_text)

        assert await told() == ""
        inc.spec = replace(inc.spec, origin=Origin(snapshot=1, agent="heron"))
        assert "of heron" in await told()
        based = replace(inc.spec.workspace, base="agent/heron")
        inc.spec = replace(inc.spec, origin=None, workspace=based)
        assert "of heron" in await told()
        inc.systems = replace(inc.systems, now=lambda: at + 31 * 86_400)
        assert await told() == ""


@proves("HAND-001")
async def test_old_ones_are_forgotten_but_the_newest_of_each_agent(handoffs: Handoffs, clock: Clock) -> None:
    for summary in ("oldest", "old"):
        await handoffs.write(draft(summary), by=FOX)
        clock.pass_by(60)
    until = clock.at + 86_400

    assert await handoffs.ground.read(lambda tx: tx.handoffs.old(before_at=until)) == 1
    assert await handoffs.ground.write(lambda tx, _: tx.handoffs.prune(before_at=until, limit=10)) == 1

    assert [one.summary for one in await handoffs.read(REPO, limit=9)] == ["old"]
