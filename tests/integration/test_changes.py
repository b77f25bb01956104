"""What agents write is kept, compared with locks, and told once; on a real store with the real lock service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envmgr.core.targets import parse_target
from envmgr.model.event import Event
from envmgr.model.lock import LockPolicy, Mode
from envmgr.model.observed import Evidence, Write, WriteKind
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.changes import ChangeRules, Changes, Writer
from envmgr.services.ground import Ground
from envmgr.services.lock_desk import LockDesk
from envmgr.services.locks import LockRequest, Locks
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_REPO = "/r"


@dataclass
class Yard:
    """Agents `a1` (fox-1), `a2` (fox-2), ... in one repository."""

    store: AuditedStore
    at: float = 1000.0
    events: list[Event] = field(default_factory=list)
    rules: ChangeRules = ChangeRules()

    def __post_init__(self) -> None:
        ground = Ground(
            store=self.store, now=lambda: self.at, steady=lambda: self.at, publish=self.events.extend
        )
        locks = Locks(ground, LockPolicy())
        self.desk = LockDesk(locks)
        self.changes = Changes(ground, locks, self.rules)

    async def lock(self, number: int, *targets: str, mode: Mode = Mode.WRITE, reason: str = "") -> None:
        who = Principal(kind=PrincipalKind.AGENT, name=f"fox-{number}", agent=f"a{number}")
        texts = tuple(parse_target(text).text for text in targets)
        asked = LockRequest(principal=who, repo=_REPO, targets=texts, mode=mode, reason=reason)
        assert (await self.desk.acquire(asked)).grants

    async def write(self, number: int, *paths: str, at: float = 0.0, is_main: bool = False) -> None:
        writer = Writer(
            agent=f"a{number}" if number else "",
            name=f"fox-{number}" if number else "",
            repo=_REPO,
            is_main=is_main,
            evidence=Evidence.TOOL if is_main else Evidence.WORKTREE,
        )
        made = [Write(path=path, kind=WriteKind.MODIFIED, at=at or self.at) for path in paths]
        await self.changes.observed(writer, made)

    async def told(self, number: int, *, is_full: bool = True) -> list[str]:
        self.at += 2  # who asks again at once is not looked for
        return await self.changes.notes(f"a{number}", _REPO, is_full=is_full)

    def kinds(self) -> list[tuple[str, str]]:
        return [(event.kind, event.agent) for event in self.events]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    store = AuditedStore(await SqliteStore.open(tmp_path / "state.db"))
    made = Yard(store)
    for number in (1, 2, 3):
        await made.told(number)
    yield made
    await store.close()


@proves("CHANGES-003")
async def test_a_write_where_another_agent_holds_a_lock_is_a_violation_told_to_both(yard: Yard) -> None:
    await yard.lock(2, "src/**", reason="moving the API")

    await yard.write(1, "src/api.py", "README.md")

    assert yard.kinds() == [("lock.violation", "a1"), ("lock.violated", "a2")]
    assert yard.events[0].data["files"] == ["src/api.py"]
    assert yard.events[0].data["holder"] == "fox-2"
    assert await yard.told(1, is_full=False) == [
        "You changed src/api.py, which fox-2 has locked. Leave it as it was, or agree with fox-2 first."
    ]
    assert await yard.told(2, is_full=False) == [
        "fox-1 changed src/api.py, which you have locked.",
        "Changed by fox-1: README.md.",
    ]
    assert await yard.told(3, is_full=False) == []
    rows = await yard.store.read(lambda tx: tx.audit.rows(after=0, limit=100))
    assert [(row.entry.operation, row.entry.target) for row in rows] == [("lock.violation", "src/**")]


@proves("CHANGES-003")
async def test_a_violation_goes_on_without_being_told_again(yard: Yard) -> None:
    await yard.lock(2, "src/api.py", mode=Mode.READ)

    for _ in range(5):
        yard.at += 30
        await yard.write(1, "src/api.py")

    assert len(yard.events) == 2
    (kept,) = await yard.changes.recent(_REPO, agent="a1")
    assert kept.violates
    assert kept.at > yard.at - 60


@proves("CHANGES-003")
async def test_a_violation_is_seen_after_the_clock_was_set_back(yard: Yard) -> None:
    await yard.lock(2, "src/api.py")
    yard.at -= 500

    await yard.write(1, "src/api.py")

    assert yard.kinds() == [("lock.violation", "a1"), ("lock.violated", "a2")]


@proves("CHANGES-003")
@pytest.mark.parametrize("case", ["own", "intent", "elsewhere", "later", "key", "gone"])
async def test_other_writes_are_none(yard: Yard, case: str) -> None:
    match case:
        case "own":
            await yard.lock(1, "src/api.py")
        case "intent":
            await yard.lock(2, "src/api.py", mode=Mode.INTENT)
        case "elsewhere":
            await yard.lock(2, "src/*.js", "src/api.py/x")
        case "later":
            await yard.lock(2, "src/api.py")
        case "key":
            await yard.lock(2, "contract:src/api.py")
        case _:
            await yard.lock(2, "src/api.py")
            yard.at += 100_000

    await yard.write(1, "src/api.py", at=yard.at - 50 if case == "later" else 0.0)

    assert yard.events == []


@proves("CHANGES-004")
async def test_each_change_of_others_that_concerns_an_agent_is_told_once(yard: Yard) -> None:
    await yard.write(1, "src/api.py")
    await yard.write(2, "src/api.py", "src/other.py")

    assert await yard.told(1, is_full=False) == [
        "fox-2 changed src/api.py, which you have changed, too: the two will have to be merged.",
        "Changed by fox-2: src/other.py.",
    ]
    assert await yard.told(1, is_full=False) == []
    assert await yard.told(1) == []
    assert await yard.told(2, is_full=False) == [
        "fox-1 changed src/api.py, which you have changed, too: the two will have to be merged."
    ]
    assert await yard.told(3, is_full=False) == []
    assert await yard.told(3) == [
        "Changed by fox-2: src/other.py, src/api.py.",
        "Changed by fox-1: src/api.py.",
    ]
    assert await yard.told(3) == []


@proves("CHANGES-004")
async def test_what_others_lock_is_told_once_and_at_once_if_it_was_changed(yard: Yard) -> None:
    await yard.write(1, "src/api.py")
    await yard.lock(2, "src/api.py", reason="mine\nnow")
    await yard.lock(2, "web/**")

    assert await yard.told(1, is_full=False) == [
        "fox-2 has locked src/api.py (write): mine now; you have changed src/api.py.",
        "Locked: web/** by fox-2.",
    ]
    assert await yard.told(1) == []
    assert await yard.told(3) == [
        "Locked: src/api.py by fox-2: mine now; web/** by fox-2.",
        "Changed by fox-1: src/api.py.",
    ]
    assert await yard.told(2, is_full=False) == ["fox-1 changed src/api.py, which you have locked by now."]


@proves("CHANGES-004")
async def test_announcements_that_meet_are_told(yard: Yard) -> None:
    await yard.lock(1, "src", mode=Mode.INTENT)
    await yard.lock(2, "src/api.py")

    assert await yard.told(1, is_full=False) == [
        "fox-2 has locked src/api.py (write); you hold src/api.py, too."
    ]


@proves("CHANGES-004")
async def test_nothing_is_told_anew_after_a_restart_of_the_daemon(yard: Yard) -> None:
    await yard.lock(2, "src/api.py")
    await yard.write(1, "src/api.py")
    assert len(await yard.told(1)) == 1
    events = len(yard.events)

    again = Yard(yard.store, at=yard.at)
    await again.write(1, "src/api.py")

    assert await again.told(1) == []
    assert again.events == []
    assert len(yard.events) == events


@proves("CHANGES-004")
async def test_what_was_before_an_agent_came_is_no_news_but_what_is_locked_is(yard: Yard) -> None:
    await yard.write(1, "src/api.py")
    await yard.lock(2, "src/web.py")

    assert await yard.told(9) == ["Locked: src/web.py by fox-2."]


@proves("CHANGES-005")
async def test_a_change_in_the_main_checkout_is_reported_to_who_made_it(yard: Yard) -> None:
    await yard.write(1, "src/api.py", is_main=True)
    await yard.write(0, "src/web.py", is_main=True)

    assert yard.kinds() == [("change.main_checkout", "a1"), ("change.main_checkout", "")]
    assert yard.events[0].data["evidence"] == "tool"
    assert await yard.told(1, is_full=False) == [
        "You changed src/api.py in the main checkout. Put it back, and make the change in your own worktree."
    ]
    assert await yard.told(2, is_full=False) == []


@proves("CHANGES-002")
async def test_changes_are_kept_for_a_time_and_in_a_number(yard: Yard) -> None:
    yard.changes.rules = ChangeRules(keep_s=100, most=3)
    await yard.write(2, "old.py")
    yard.at += 60
    await yard.write(1, *(f"{number}.py" for number in range(450)))

    assert len(await yard.changes.recent(_REPO, agent="a1")) == 3
    assert len(await yard.changes.recent(_REPO)) == 4
    yard.at += 50
    assert len(await yard.changes.recent(_REPO)) == 3
    await yard.changes.prune()
    assert len(await yard.store.read(lambda tx: tx.changes.recent(_REPO))) == 3
