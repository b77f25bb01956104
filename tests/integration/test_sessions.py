"""Sessions on a real store, with real locks and a real queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from envmgr.model.lock import LockPolicy, Mode
from envmgr.model.principal import AGENT_SCOPES, Principal, PrincipalKind
from envmgr.model.session import Session, SessionStatus
from envmgr.model.task import TaskSpec
from envmgr.protocols.store import Transaction
from envmgr.services.lock_keeping import LockKeeping
from envmgr.services.locks import LockRequest, Locks
from envmgr.services.queue.claiming import Claimed
from envmgr.services.queue.queue import Queue
from envmgr.services.queue.rules import Footing, NoLocks, QueueRules
from envmgr.services.queue.submitting import Submission
from envmgr.services.session_parts import Beat, SessionRules
from envmgr.services.sessions import Presence
from tests.support.clocked import REPO, Clock, ground
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

BOT = Principal(kind=PrincipalKind.PROGRAM, name="bot", scopes=frozenset(AGENT_SCOPES))
FOX = Principal(kind=PrincipalKind.AGENT, name="fox", agent="f0x", scopes=frozenset(AGENT_SCOPES))
LONG_S = 30_000.0


@dataclass
class Spawned:
    """Agents as a supervisor would tell of them: fox, if it lives."""

    life: str = "1/100"
    status: SessionStatus = SessionStatus.ACTIVE
    stop: str = ""

    def session(self, agent: str) -> Session | None:
        if agent != FOX.agent:
            return None
        return Session(
            principal=FOX.id, name="fox", repo=REPO, kind="claude_code", capabilities=("python",), status=self.status,
            life=self.life, at=1.0,
        )  # fmt: skip

    def sessions(self) -> Sequence[Session]:
        found = self.session(FOX.id)
        return [found] if found is not None else []

    def must_stop(self, agent: str) -> str:
        return self.stop

    def why(self, agent: str, life: str) -> str:
        if self.status is SessionStatus.DEAD:
            return "its process is gone"
        return "" if life == self.life else "it was started again"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spawned() -> Spawned:
    return Spawned()


@pytest.fixture
async def presence(tmp_path: Path, clock: Clock, spawned: Spawned) -> AsyncIterator[Presence]:
    async with ground(tmp_path, clock) as stand:
        locks = Locks(stand, LockPolicy(ttl_s=LONG_S))
        queue = Queue(stand, Footing(rules=QueueRules(lease_s=LONG_S), locks=NoLocks(), draw=lambda: 0.5))
        yield Presence(
            ground=stand, locks=locks, queue=queue, rules=SessionRules(stale_s=900), agents=spawned
        )


async def lock(presence: Presence, who: Principal, target: str) -> None:
    asked = LockRequest(principal=who, repo=REPO, targets=(target,), mode=Mode.WRITE, ttl_s=LONG_S)
    answer = await presence.ground.write(lambda tx, tell: presence.locks.take(tx, tell, asked))
    assert answer.grants, answer


async def claim(presence: Presence, who: Principal) -> str:
    wanted = [Submission(spec=TaskSpec(type="code", description="x"))]
    await presence.queue.submit(wanted, repo=REPO, by=BOT)
    found = await presence.queue.claim(repo=REPO, who=who)
    assert isinstance(found, Claimed)
    return found.task.name


async def held(presence: Presence) -> list[str]:
    return sorted(await presence.ground.read(lambda tx: [grant.target for grant in tx.locks.all(REPO)]))


async def claimed(presence: Presence) -> list[str]:
    return sorted(await presence.ground.read(lambda tx: [task.name for task in tx.tasks.leased()]))


async def statuses(presence: Presence) -> dict[str, str]:
    found = await presence.discover(repo=REPO, has_over=True)
    return {f"{one.name}/{one.session}": one.status.value for one in found}


def bot(session: str) -> Session:
    return Session(principal=BOT.id, session=session, name="bot", repo=REPO, kind="program")


@proves("SESS-001")
async def test_a_silent_session_gives_back_what_it_held_and_the_other_one_of_the_same_principal_keeps_its_own(
    presence: Presence, clock: Clock
) -> None:
    one, two, none = (replace(BOT, session=name) for name in ("one", "two", ""))
    for who in (one, two, none):
        await presence.register(bot(who.session))
        await lock(presence, who, f"src/{who.session or 'none'}.py")
    tasks = {who.session: await claim(presence, who) for who in (one, two, none)}
    clock.pass_by(800)
    presence.seen(two.id, two.session)
    clock.pass_by(150)

    ended = await presence.end_silent()

    assert sorted(one.session for one in ended) == ["", "one"]
    assert await held(presence) == ["src/two.py"]
    assert await claimed(presence) == [tasks["two"]]
    assert await statuses(presence) == {
        "bot/": "stale",
        "bot/one": "stale",
        "bot/two": "active",
        "fox/": "active",
    }
    assert await presence.end_silent() == []
    assert clock.kinds().count("session.ended") == 2


@proves("SESS-001")
async def test_a_call_that_names_no_session_counts_for_the_only_one_there_is(
    presence: Presence, clock: Clock
) -> None:
    await presence.register(bot("one"))
    clock.pass_by(800)
    presence.seen(BOT.id, BOT.session)
    clock.pass_by(800)
    presence.seen(BOT.id, BOT.session)

    assert await presence.end_silent() == []

    await presence.register(bot("two"))
    clock.pass_by(901)
    presence.seen(BOT.id, BOT.session)
    ended = await presence.end_silent()
    assert {one.session for one in ended} == {"one", "two"}, "of two nobody can tell which"


@proves("SESS-001")
@pytest.mark.parametrize("ahead", [1_000_000.0, -1_000_000.0])
async def test_clocks_that_are_set_neither_end_a_session_nor_keep_it(
    presence: Presence, clock: Clock, ahead: float
) -> None:
    await presence.register(bot("one"))
    clock.ahead = ahead
    presence.seen(BOT.id, "one")

    assert await presence.end_silent() == []
    assert (await statuses(presence))["bot/one"] == "active"

    clock.pass_by(901)
    assert [one.session for one in await presence.end_silent()] == ["one"]


@proves("SESS-002")
async def test_who_comes_back_is_taken_in_again_and_told_what_it_lost(
    presence: Presence, clock: Clock
) -> None:
    await presence.register(bot("one"))
    clock.pass_by(901)
    await presence.end_silent()

    pulse = await presence.heartbeat(BOT, "one", Beat(note="back"), repo=REPO)

    assert "you counted as gone (no sign of life for 900 s)" in pulse.warnings[0]
    assert (await statuses(presence))["bot/one"] == "active"
    assert (await presence.heartbeat(BOT, "one", Beat(), repo=REPO)).warnings == ()
    assert "session.returned" in clock.kinds()


@proves("SESS-003")
async def test_an_agent_whose_process_is_gone_gives_back_everything_at_once(
    presence: Presence, clock: Clock, spawned: Spawned
) -> None:
    await presence.note_agents()
    helper = replace(FOX, session="helper")
    await presence.register(
        Session(principal=FOX.id, session="helper", name="fox", repo=REPO, kind="subagent")
    )
    for who in (FOX, helper):
        await claim(presence, who)
    assert await presence.end_dead(spawned.why) == []

    spawned.status = SessionStatus.DEAD
    ended = await presence.end_dead(spawned.why)

    assert sorted(one.session for one in ended) == ["", "helper"]
    assert await claimed(presence) == []
    assert await presence.discover(repo=REPO) == []
    await presence.note_agents()
    assert await presence.end_dead(spawned.why) == []


@proves("SESS-003")
async def test_the_end_of_a_session_names_what_it_held_though_others_were_quicker_to_give_it_back(
    presence: Presence, clock: Clock, spawned: Spawned
) -> None:
    await presence.note_agents()
    await lock(presence, FOX, "src/den.py")
    task = await claim(presence, FOX)
    spawned.status = SessionStatus.DEAD
    await LockKeeping(presence.locks).release_dead(spawned.why)
    await presence.ground.write(lambda tx, tell: presence.queue.release_of(tx, tell, FOX.id))

    await presence.end_dead(spawned.why)

    (ended,) = (event for event in clock.events if event.kind == "session.ended")
    assert (ended.data["tasks"], ended.data["locks"]) == ([task], ["src/den.py"])


@proves("SESS-003")
async def test_an_assistant_that_was_started_again_is_another_session(
    presence: Presence, spawned: Spawned, clock: Clock
) -> None:
    await presence.note_agents()

    spawned.life = "1/200"
    assert len(await presence.end_dead(spawned.why)) == 1
    await presence.note_agents()

    assert await presence.end_dead(spawned.why) == []
    assert clock.kinds() == ["session.registered", "session.ended", "session.registered"]


@proves("SESS-004")
async def test_an_agent_is_found_without_registering_and_may_add_what_it_can_do(
    presence: Presence, spawned: Spawned, clock: Clock
) -> None:
    (found,) = await presence.discover(repo=REPO)
    assert (found.name, found.status, found.capabilities) == ("fox", SessionStatus.ACTIVE, ("python",))

    await presence.note_agents()
    said = Session(
        principal=FOX.id, name="fox", repo=REPO, capabilities=("review",), current_task="t-1", life=spawned.life
    )  # fmt: skip
    await presence.register(said)
    (found,) = await presence.discover(repo=REPO)
    assert (found.capabilities, found.current_task) == (("python", "review"), "t-1")
    assert presence.capabilities(FOX) == {"python", "review"}
    assert await presence.discover(repo="/other") == []

    clock.pass_by(901)
    assert (await statuses(presence))["fox/"] == "stale", "it works and is not heard of"
    spawned.status = SessionStatus.IDLE
    assert (await statuses(presence))["fox/"] == "idle", "who waits may be silent"
    await presence.end_silent()
    assert len(await presence.discover(repo=REPO)) == 1, "its process lives"


@proves("SESS-005")
async def test_a_heartbeat_tells_what_happened_once_what_others_do_and_whether_to_stop(
    presence: Presence, spawned: Spawned, clock: Clock
) -> None:
    await presence.note_agents()
    clock.pass_by(1)

    async def warn(principal: Principal, repo: str) -> Sequence[str]:
        return [f"{principal.name}: src/a.py is locked by owl"]

    presence.warners += [presence.queue.warn, warn]
    off = await claim(presence, FOX)
    await presence.queue.cancel(REPO, off, by=BOT, reason="not needed")
    gone = await claim(presence, FOX)
    await presence.ground.write(lambda tx, tell: presence.queue.release_of(tx, tell, FOX.id))
    spawned.stop = "the agent is to be stopped"

    first = await presence.heartbeat(FOX, "", Beat(), repo=REPO)
    second = await presence.heartbeat(FOX, "", Beat(), repo=REPO)

    assert first.warnings == (
        f"task {off} was cancelled: stop working on it (not needed)",
        "fox: src/a.py is locked by owl",
    )
    assert any(f"task {gone} went back to the queue" in line for line in first.messages)
    assert first.must_stop == "the agent is to be stopped"
    assert (second.messages, second.warnings) == ((), ("fox: src/a.py is locked by owl",))


@proves("SESS-001")
async def test_what_no_daemon_could_hear_is_held_against_nobody(presence: Presence, clock: Clock) -> None:
    await presence.register(bot("one"))
    clock.pass_by(5000)

    later = Presence(
        ground=presence.ground, locks=presence.locks, queue=presence.queue, rules=SessionRules(stale_s=900)
    )
    await later.load()

    assert await later.end_silent() == []
    clock.pass_by(901)
    assert [one.session for one in await later.end_silent()] == ["one"]


@proves("SESS-006")
async def test_however_many_sessions_there_are_none_is_overlooked(
    presence: Presence, spawned: Spawned, clock: Clock
) -> None:
    await presence.note_agents()
    said = Session(principal=FOX.id, name="fox", repo=REPO, capabilities=("review",), life=spawned.life)
    await presence.register(said)
    clock.pass_by(1)
    crowd = [replace(bot(f"s{number}"), seen_at=clock.now()) for number in range(1100)]
    runs = [
        Session(principal=f"agent{number}", name="a", repo=REPO, life=f"1/{number}") for number in range(120)
    ]

    def fill(tx: Transaction) -> None:
        for one in (*crowd, *runs):
            tx.sessions.put(one)

    await presence.ground.store.write(fill)

    found = await presence.discover(repo=REPO)
    assert len(found) == 1101
    assert found[0].capabilities == ("python", "review")
    await presence.note_agents()
    assert clock.kinds().count("session.registered") == 1, "it was there already"
    clock.pass_by(901)
    assert [one.name for one in await presence.end_silent()] == ["bot"] * 100, "runs may be silent"
    spawned.status = SessionStatus.DEAD
    ended = await presence.end_dead(lambda agent, life: spawned.why(agent, life) if agent == FOX.id else "")
    assert [one.principal for one in ended] == [FOX.id]


@proves("SESS-006")
async def test_nothing_is_remembered_of_a_session_that_is_over_and_who_comes_back_is_known_again(
    presence: Presence, spawned: Spawned, clock: Clock
) -> None:
    for number in range(20):
        await presence.register(replace(bot(f"s{number}"), capabilities=("python",)))
    await presence.note_agents()
    await presence.heartbeat(FOX, "", Beat(), repo=REPO)
    clock.pass_by(901)

    await presence.end_silent()
    spawned.status = SessionStatus.DEAD
    await presence.end_dead(spawned.why)

    assert (presence.kept.abilities, presence.kept.told, presence.registered) == ({}, {}, set())
    assert presence.capabilities(replace(BOT, session="s1")) == frozenset()
    await presence.heartbeat(BOT, "s1", Beat(), repo=REPO)
    assert presence.capabilities(replace(BOT, session="s1")) == {"python"}
