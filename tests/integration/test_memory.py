"""Remember and recall on a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envmgr.core.recalling import DAY_S, tokens
from envmgr.errors import Denied, NotFound, UsageError
from envmgr.model.memory import Memory, MemoryFilter, Outcome, memory_name
from envmgr.model.principal import AGENT_SCOPES, Principal, PrincipalKind
from envmgr.protocols.store import Transaction
from envmgr.services.memory import Recollection
from envmgr.services.recalled import Question, Recalled
from tests.support.clocked import REPO, Clock, ground
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

ANY = MemoryFilter(repo=REPO)
FOX = Principal(kind=PrincipalKind.AGENT, name="fox", agent="f0x", scopes=frozenset(AGENT_SCOPES))
OWL = Principal(kind=PrincipalKind.AGENT, name="owl", agent="0wl", scopes=frozenset(AGENT_SCOPES))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def memory(tmp_path: Path, clock: Clock) -> AsyncIterator[Recollection]:
    async with ground(tmp_path, clock) as stand:
        yield Recollection(ground=stand)


def one(summary: str, **more: object) -> Memory:
    return replace(Memory(repo=REPO, agent="f0x", agent_name="fox", summary=summary), **more)  # type: ignore[arg-type]


async def ask(memory: Recollection, text: str, which: MemoryFilter = ANY, **more: object) -> Recalled:
    return await memory.recall(Question(text=text, which=which, **more))  # type: ignore[arg-type]


async def found(memory: Recollection, text: str, which: MemoryFilter = ANY, **more: object) -> list[str]:
    return [hit.memory.summary for hit in (await ask(memory, text, which, **more)).hits]


@proves("MEM-001")
async def test_what_was_remembered_is_recalled_by_its_words_in_any_form(memory: Recollection) -> None:
    await memory.remember(one("parseHttpRequest drops headers after a redirect"))
    await memory.remember(one("Use `uv sync --locked` in CI"))
    await memory.remember(one("データベースの移行は夜に行う"))

    for question in ("parse_http_request", "parsing HTTP requests", "ParseHTTPRequest", "redirected header"):
        assert await found(memory, question) == ["parseHttpRequest drops headers after a redirect"]
    assert await found(memory, "which lock flag does CI use?") == ["Use `uv sync --locked` in CI"]
    assert await found(memory, "移行") == ["データベースの移行は夜に行う"]
    assert await found(memory, "kubernetes") == []


@proves("MEM-001")
async def test_details_lessons_tags_and_paths_are_searched_too(memory: Recollection) -> None:
    await memory.remember(
        one(
            "Deploy broke",
            details="the migration waited for a lock",
            lessons=("set lock_timeout",),
            tags=("postgres",),
            files=("db/migrations/0007_users.sql",),
        )
    )

    for question in ("migration waits", "lock timeouts", "postgres", "0007 users"):
        assert await found(memory, question) == ["Deploy broke"]


@proves("MEM-001")
@pytest.mark.parametrize(
    "question",
    ['"', "a AND", "NEAR(a b", "col:x*", "(((", "-", "'; DROP TABLE memory; --", "^x", "\x00", "*", "{}", "OR OR OR"],
)  # fmt: skip
async def test_no_question_is_a_mistake(memory: Recollection, question: str) -> None:
    await memory.remember(one("anything"))

    await ask(memory, question)


@proves("MEM-001")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200).filter(lambda text: text.replace("\x00", "").strip()))
async def test_any_text_can_be_remembered_and_any_text_asked(memory: Recollection, text: str) -> None:
    await memory.remember(one(text))

    await ask(memory, text)


@proves("MEM-002")
async def test_the_same_within_the_window_is_stored_once(memory: Recollection, clock: Clock) -> None:
    first = await memory.remember(one("The cache must be warm before tests run"))
    again = await memory.remember(one("  the CACHE must be warm, before tests run! "))
    nearly = await memory.remember(one("The cache must be warm before tests run here"))
    other_repo = await memory.remember(replace(one("The cache must be warm before tests run"), repo="/other"))

    assert (again.id, again.is_known) == (nearly.id, nearly.is_known) == (first.id, True)
    assert not other_repo.is_known
    assert clock.kinds() == ["memory.remembered"] * 2

    clock.pass_by(3601)
    assert not (await memory.remember(one("The cache must be warm before tests run"))).is_known


@proves("MEM-002")
async def test_what_adds_something_to_a_known_memory_is_kept_and_recalled(memory: Recollection) -> None:
    await memory.remember(one("Tests failed", details="no database"))
    other = await memory.remember(one("Tests failed", details="migration 7 missing", files=("db/7.sql",)))
    same = await memory.remember(one("Tests failed"))
    text = "the integration tests of the service {} need the database of the payment provider to be up and seeded"
    billing, shipping = [await memory.remember(one(text.format(name))) for name in ("billing", "shipping")]

    assert [other.is_known, same.is_known, shipping.is_known] == [False, True, False]
    assert await found(memory, "migration 7 missing") == ["Tests failed"]
    assert [hit.memory.details for hit in (await ask(memory, "tests failed")).hits[:2]] != [""] * 2
    assert (await found(memory, "shipping"))[0] == text.format("shipping")
    both = await ask(memory, "which services need the payment provider")
    assert {hit.memory.id for hit in both.hits} >= {billing.id, shipping.id}


@proves("MEM-001")
async def test_what_other_repositories_remember_hides_nothing(memory: Recollection) -> None:
    await memory.remember(one("payment webhook signature needs the raw body"))

    def fill(tx: Transaction, _: object) -> None:
        for number in range(2700):
            said = "flaky" if number < 2600 else "nothing"
            tx.memories.add(replace(one(f"{said} payment webhook {number}"), repo="/other"))

    await memory.ground.write(fill)

    assert await found(memory, "flaky payment webhook") == ["payment webhook signature needs the raw body"]


@proves("MEM-002")
async def test_what_differs_in_a_number_or_a_denial_is_no_repetition_and_is_shown_together(
    memory: Recollection,
) -> None:
    old = await memory.remember(one("The pool of the payment service takes 20 connections"))
    new = await memory.remember(one("The pool of the payment service takes 50 connections"))

    assert (new.is_known, new.contradicts) == (False, (old.id,))
    answer = await ask(memory, "payment pool connections")
    assert {hit.memory.id: hit.contradicts for hit in answer.hits} == {old.id: (new.id,), new.id: (old.id,)}
    assert f"Says otherwise than {memory_name(old.id)}: compare the dates" in answer.text


@proves("MEM-003")
async def test_secrets_are_masked_before_anything_is_stored(memory: Recollection, tmp_path: Path) -> None:
    await memory.remember(
        one(
            "Login works with password=hunter2hunter2",
            details="Bearer abcdefgh12345678",
            lessons=("key sk-abcdefgh12345678",),
            tags=("corge-grault-1",),
        ),
        secrets={"corge-grault-1"},
    )
    (stored,) = await memory.newest(ANY, limit=1)

    assert "********" in stored.summary
    written = (tmp_path / "envmgr.db").read_bytes() + (tmp_path / "envmgr.db-wal").read_bytes()
    for secret in (b"hunter2hunter2", b"abcdefgh12345678", b"corge-grault"):
        assert secret not in written.lower()


@proves("MEM-004")
async def test_what_is_superseded_is_hidden_unless_asked_for(memory: Recollection) -> None:
    old = await memory.remember(one("Deploys go through Jenkins"))
    new = await memory.remember(one("Deploys go through GitHub actions"), supersedes=memory_name(old.id))

    assert await found(memory, "deploys") == ["Deploys go through GitHub actions"]
    everything = await found(memory, "deploys", replace(ANY, has_superseded=True))
    assert sorted(everything) == ["Deploys go through GitHub actions", "Deploys go through Jenkins"]

    with pytest.raises(NotFound):
        await memory.remember(one("nothing to replace"), supersedes="m-999999")
    await memory.forget(REPO, memory_name(new.id), by=FOX)
    assert await found(memory, "deploys") == ["Deploys go through Jenkins"]


@proves("MEM-004", "MEM-002")
async def test_what_is_known_already_takes_the_place_of_another_one_all_the_same(
    memory: Recollection,
) -> None:
    old = await memory.remember(one("The web tests use port 8080"))
    known = await memory.remember(one("The web tests use port 9090"))

    again = await memory.remember(one("The web tests use port 9090"), supersedes=memory_name(old.id))

    assert (again.id, again.is_known, again.superseded) == (known.id, True, old.id)
    assert await found(memory, "web tests port") == ["The web tests use port 9090"]
    with pytest.raises(NotFound):
        await memory.remember(one("The web tests use port 9090"), supersedes="m-999999")


@proves("MEM-005")
async def test_age_settles_near_ties_and_hides_nothing(memory: Recollection, clock: Clock) -> None:
    await memory.remember(one("The billing worker deadlocks when two refunds of one order run"))
    clock.pass_by(400 * DAY_S)
    await memory.remember(one("Billing has a new logo"))
    await memory.remember(one("A colour of buttons"))

    assert (await found(memory, "billing worker deadlocks on refunds"))[0].startswith("The billing worker")

    await memory.remember(one("Release notes are written by hand"))
    clock.pass_by(400 * DAY_S)
    await memory.remember(one("Release notes are written by robots"))
    assert (await found(memory, "release notes"))[0].endswith("robots")


@proves("MEM-005")
async def test_pins_outcomes_and_the_paths_one_works_on_raise_a_memory(memory: Recollection) -> None:
    await memory.remember(one("retry budget discussed", files=("src/queue/retry.py",)))
    await memory.remember(one("retry budget measured", outcome=Outcome.NEGATIVE))
    await memory.remember(one("retry budget decided", is_pinned=True))

    assert await found(memory, "retry budget") == [
        "retry budget decided",
        "retry budget measured",
        "retry budget discussed",
    ]
    assert (await found(memory, "retry budget", here=("src/queue",)))[1] == "retry budget discussed"


@proves("MEM-006")
async def test_the_memories_before_and_after_a_hit_are_its_context(memory: Recollection) -> None:
    await memory.remember(one("Looked into the flaky checkout test", thread="t-1"))
    await memory.remember(one("The cause was a shared clock", thread="t-1"))
    await memory.remember(one("Clocks are bought in Geneva", thread="t-2"))

    assert await found(memory, "why is the checkout test flaky") == [
        "Looked into the flaky checkout test",
        "The cause was a shared clock",
    ]


@proves("MEM-007")
async def test_filters_leave_out_what_is_not_meant(memory: Recollection, clock: Clock) -> None:
    await memory.remember(one("index one", tags=("db",), files=("src/a/x.py",), event_type="decision"))
    clock.pass_by(DAY_S)
    await memory.remember(one("index two", tags=("web",), files=("src/ab.py",)))
    await memory.remember(replace(one("index three"), repo="/other"))

    assert await found(memory, "index", replace(ANY, tags=("db", "none"))) == ["index one"]
    assert await found(memory, "index", replace(ANY, paths=("src/a",))) == ["index one"]
    assert await found(memory, "index", replace(ANY, paths=("src/ab.py",))) == ["index two"]
    assert await found(memory, "index", replace(ANY, event_types=("decision",))) == ["index one"]
    assert await found(memory, "index", replace(ANY, since_at=clock.now() - 60)) == ["index two"]
    assert sorted(await found(memory, "")) == ["index one", "index two"]
    assert await found(memory, "", replace(ANY, paths=("src/a/x.py",))) == ["index one"]


@proves("MEM-007")
async def test_who_wants_only_what_fits_well_is_told_no_more(memory: Recollection) -> None:
    await memory.remember(one("The billing worker deadlocks on refunds"))
    await memory.remember(one("A worker of the farm"))

    whole = await memory.recall(Question(text="billing worker deadlocks", which=ANY))
    best = await memory.recall(Question(text="billing worker deadlocks", which=ANY, least_share=0.9))

    assert (len(whole.hits), len(best.hits)) == (2, 1)


@proves("MEM-008")
async def test_the_text_keeps_to_the_budget_and_names_what_it_has(memory: Recollection) -> None:
    for number in range(20):
        await memory.remember(one(f"lesson {number} about caching {'x' * number}", details="word " * 60))

    answer = await ask(memory, "caching", limit=20, token_budget=300)

    assert answer.is_cut
    assert 1 <= len(answer.hits) < 20
    assert tokens(answer.text) <= 310
    assert all(memory_name(hit.memory.id) in answer.text for hit in answer.hits)
    tiny = await ask(memory, "caching", limit=20, token_budget=10)
    assert len(tiny.hits) == 1
    assert len(tiny.text) <= 40


@proves("MEM-009")
async def test_an_agent_forgets_its_own_memories_and_no_others(memory: Recollection) -> None:
    mine = memory_name((await memory.remember(one("a thing to forget"))).id)

    with pytest.raises(Denied):
        await memory.forget(REPO, mine, by=OWL)
    with pytest.raises(NotFound):
        await memory.forget("/other", mine, by=FOX)
    await memory.forget(REPO, mine, by=FOX)

    assert await found(memory, "forget") == []
    for name in (mine, "m-000999", "nonsense", ""):
        with pytest.raises(NotFound):
            await memory.forget(REPO, name, by=FOX)


@proves("MEM-002")
async def test_a_memory_without_words_is_refused(memory: Recollection) -> None:
    with pytest.raises(UsageError):
        await memory.remember(one(" \x00 \n"))
