"""What coordination services stand on, for tests: a real store, and clocks that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.model.event import Event
from envmgr.services.ground import Ground
from envmgr.store.sqlite import SqliteStore

REPO = "/repo"


@dataclass
class Clock:
    """Both clocks of a daemon; the wall clock may be set `ahead` of the steady one, as people and time servers do."""

    at: float = 1_800_000_000.0
    ahead: float = 0.0
    events: list[Event] = field(default_factory=list)

    def now(self) -> float:
        return self.at + self.ahead

    def steady(self) -> float:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += seconds

    def kinds(self) -> list[str]:
        """Of the events told so far."""
        return [event.kind for event in self.events]


@asynccontextmanager
async def ground(folder: Path, clock: Clock) -> AsyncIterator[Ground]:
    """Closed at the end."""
    store = await SqliteStore.open(folder / "envmgr.db")
    try:
        yield Ground(store=store, now=clock.now, steady=clock.steady, publish=clock.events.extend)
    finally:
        await store.close()
