"""Keys: known in memory, kept as hashes, good until they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envmgr.errors import Conflict, Denied, NotFound, UsageError
from envmgr.model.principal import AGENT_SCOPES, DAEMON, Principal, PrincipalKind, Scope
from envmgr.protocols.keys import Key
from envmgr.protocols.store import Store, Transaction
from envmgr.services.keys import PREFIX, Issued, Keys
from envmgr.store.sqlite import SqliteStore
from tests.support.grounds import ground
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await SqliteStore.open(tmp_path / "state.db")
    yield store
    await store.close()


async def _keys(store: Store, clock: Clock) -> Keys:
    keys = Keys(ground(clock, store))
    await keys.load()
    return keys


async def _agents(store: Store, keys: Keys, generation: int = 1, agent: str = "otter001") -> Issued:
    def issue(tx: Transaction) -> Issued:
        return keys.issue(tx, name="otter", agent=agent, generation=generation, scopes=AGENT_SCOPES)

    return await store.write(issue)


@proves("KEYS-001")
async def test_a_key_tells_whose_it_is_also_to_the_next_daemon_and_its_text_is_nowhere(
    store: Store, tmp_path: Path
) -> None:
    keys = await _keys(store, Clock())
    made = await keys.create("ci", scopes={"read", "locks"}, by=DAEMON)
    agents = await _agents(store, keys)

    for known in (keys, await _keys(store, Clock())):
        ci, otter = known.principal(made.clear), known.principal(agents.clear)
        assert ci is not None
        assert otter is not None
        assert (ci.id, ci.may(Scope.LOCKS), ci.may(Scope.WORK)) == ("program:ci", True, False)
        assert (otter.kind, otter.id, otter.name) == (PrincipalKind.AGENT, "otter001", "otter")
        assert known.principal(made.clear + "x") is known.principal("") is None

    assert made.clear.startswith(PREFIX)
    assert made.clear not in repr(made)
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert made.clear.encode() not in files


@proves("KEYS-001")
async def test_a_key_ends_with_its_time_whatever_is_in_memory(store: Store) -> None:
    clock = Clock()
    keys = await _keys(store, clock)
    made = await keys.create("ci", scopes={"read"}, lasts_s=60, by=DAEMON)

    clock.now += 59
    assert keys.principal(made.clear)
    clock.now += 1
    assert keys.principal(made.clear) is None
    await keys.create("ci", scopes={"read"}, by=DAEMON)  # the name is free again


@proves("KEYS-001")
async def test_an_agents_older_keys_go_at_once_and_others_stay(store: Store) -> None:
    keys = await _keys(store, Clock())
    first, second = await _agents(store, keys, 1), await _agents(store, keys, 2)
    others, programs = (
        await _agents(store, keys, 1, "heron001"),
        await keys.create("p", scopes={"*"}, by=DAEMON),
    )

    assert await store.write(lambda tx: keys.revoke_agent(tx, "otter001", except_generation=2)) == 1

    for known in (keys, await _keys(store, Clock())):
        found = [known.principal(one.clear) is not None for one in (first, second, others, programs)]
        assert found == [False, True, True, True]
    assert await store.write(lambda tx: keys.revoke_agent(tx, "")) == 0


@proves("KEYS-001")
async def test_a_revocation_that_was_undone_stays_on_the_safe_side(store: Store) -> None:
    keys = await _keys(store, Clock())
    made = await _agents(store, keys)

    def fail(tx: Transaction) -> None:
        keys.revoke_agent(tx, "otter001")
        raise Conflict("something else went wrong")

    with pytest.raises(Conflict):
        await store.write(fail)

    assert keys.principal(made.clear) is None
    assert (await _keys(store, Clock())).principal(made.clear)


@proves("KEYS-002")
async def test_nobody_gives_what_they_do_not_have(store: Store) -> None:
    keys = await _keys(store, Clock())
    admin = Principal(kind=PrincipalKind.PROGRAM, name="boss", scopes=frozenset({"admin", "read"}))

    for scopes in ({"operate"}, {"*"}, {"read", "locks"}):
        with pytest.raises(Denied, match="cannot give what it does not have"):
            await keys.create("more", scopes=scopes, by=admin)
    assert (await keys.create("less", scopes={"read"}, by=admin)).key.scopes == ("read",)


@proves("KEYS-001")
async def test_what_makes_no_sense_is_refused(store: Store) -> None:
    keys = await _keys(store, Clock())
    await keys.create("ci", scopes={"read"}, by=DAEMON)

    with pytest.raises(UsageError, match="there is no scope 'fly'"):
        await keys.create("other", scopes={"fly"}, by=DAEMON)
    with pytest.raises(UsageError, match="good for something"):
        await keys.create("other", scopes=set(), by=DAEMON)
    with pytest.raises(Conflict):
        await keys.create("ci", scopes={"read"}, by=DAEMON)
    with pytest.raises(NotFound):
        await keys.revoke("nobody")


@proves("KEYS-001")
async def test_use_is_noted_to_the_minute_and_old_keys_are_forgotten(store: Store) -> None:
    clock = Clock()
    keys = await _keys(store, clock)
    made = await keys.create("ci", scopes={"read"}, by=DAEMON)
    begun = clock.now
    for _ in range(100):
        keys.principal(made.clear)
        clock.now += 1

    (known,) = await keys.known()
    assert known.used_at == begun + 60
    await keys.revoke(made.key.id)
    assert (await keys.known(), len(await keys.known(is_all=True))) == ([], 1)

    forget = 30 * DAY_S
    assert await store.write(lambda tx: tx.keys.forget(before_at=clock.now)) == 0
    assert await store.write(lambda tx: tx.keys.forget(before_at=clock.now + forget)) == 1


async def test_two_keys_of_one_hash_cannot_be(store: Store) -> None:
    key = Key(id="one", hash="00", kind=PrincipalKind.PROGRAM, name="a")
    await store.write(lambda tx: tx.keys.add(key))

    with pytest.raises(Conflict):
        await store.write(lambda tx: tx.keys.add(key))
    assert await store.read(lambda tx: tx.keys.find("00")) == key
    assert await store.read(lambda tx: tx.keys.find("11")) is None
