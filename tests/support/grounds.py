"""The ground of coordination services, for tests that need no daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from envmgr.model.event import Event
from envmgr.model.lock import LockPolicy
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.protocols.store import Store
from envmgr.services.ground import Ground
from envmgr.services.lock_book import Rules, no_rules, nothing
from envmgr.services.lock_desk import LockDesk
from envmgr.services.lock_keeping import LockKeeping
from envmgr.services.locks import Locks
from envmgr.store.sqlite import SqliteStore

USUAL = LockPolicy()


def ground(steady: Callable[[], float], store: Store | None = None) -> Ground:
    """With a clock of the test's own; what is published is heard by nobody. Without a store, for changes made by hand."""
    # A test that needs no store passes none, and an attempt to use it fails loudly.
    return Ground(store=cast(Store, store), now=steady, steady=steady, publish=lambda events: None)


@dataclass
class Locksmith:
    """Locks on a real store. `now` is the steady clock, `wall` the other one; `told` are all events."""

    store: Store
    now: float = 1000.0
    wall: float = 50_000.0
    told: list[Event] = field(default_factory=list)
    locks: Locks = field(init=False)
    desk: LockDesk = field(init=False)
    keeping: LockKeeping = field(init=False)

    def open(
        self,
        policy: LockPolicy = USUAL,
        *,
        life: Callable[[str], str] = nothing,
        rules: Rules = no_rules,
    ) -> Locksmith:
        """Make the services, as a daemon does at its start."""
        ground = Ground(
            store=self.store, now=lambda: self.wall, steady=lambda: self.now, publish=self._publish
        )
        self.locks = Locks(ground, policy, life=life, rules=rules)
        self.desk, self.keeping = LockDesk(self.locks), LockKeeping(self.locks)
        return self

    def kinds(self) -> list[str]:
        """What was told, in order."""
        return [event.kind for event in self.told]

    def _publish(self, events: Sequence[Event]) -> None:
        self.told += events
        for event in events:
            if event.kind == "lock.released":
                self.locks.line.free(str(event.data["repo"]), str(event.data["target"]))


@asynccontextmanager
async def locksmith(
    path: Path, policy: LockPolicy = USUAL, *, rules: Rules = no_rules
) -> AsyncIterator[Locksmith]:
    """On a store of its own."""
    store = await SqliteStore.open(path / "state.db")
    try:
        yield Locksmith(store).open(policy, rules=rules)
    finally:
        await store.close()


def agent(name: str, *, session: str = "", parent: str = "") -> Principal:
    """Somebody who asks."""
    return Principal(kind=PrincipalKind.AGENT, name=name, agent=name, session=session, parent=parent)
