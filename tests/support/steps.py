"""Steps of a saga that make and unmake things in a small world, and break on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import anyio

from envmgr.errors import EnvmgrError, Unavailable
from envmgr.model.lease import StepRecord, StepState
from envmgr.runtime.saga import Receipt, Step


class How(Enum):
    """How a step (or its undo) goes."""

    WORKS = auto()
    FAILS_BEFORE = auto()
    FAILS_AFTER = auto()
    HANGS_BEFORE = auto()
    HANGS_AFTER = auto()


@dataclass(slots=True)
class World:
    """What exists, and what was done in which order."""

    things: set[str] = field(default_factory=set)
    story: list[str] = field(default_factory=list)
    receipts: dict[str, Receipt | None] = field(default_factory=dict)

    def done(self) -> list[str]:
        return [line.removeprefix("do ") for line in self.story if line.startswith("do ")]

    def undone(self) -> list[str]:
        return [line.removeprefix("undo ") for line in self.story if line.startswith("undo ")]


class MakeThing(Step):
    """Makes the thing it is named after."""

    def __init__(self, name: str, world: World, *, do: How = How.WORKS, undo: How = How.WORKS) -> None:
        self.name = name
        self._world, self._do, self._undo = world, do, undo

    async def do(self) -> Receipt:
        self._world.story.append(f"do {self.name}")
        await _early(self._do, f"{self.name} broke")
        self._world.things.add(self.name)
        await _late(self._do, f"{self.name} broke")
        return {"made": self.name}

    async def undo(self, receipt: Receipt | None) -> None:
        self._world.story.append(f"undo {self.name}")
        self._world.receipts[self.name] = receipt
        await _early(self._undo, f"{self.name} stays")
        self._world.things.discard(self.name)
        await _late(self._undo, f"{self.name} stays")


async def _early(how: How, words: str) -> None:
    await anyio.lowlevel.checkpoint()
    if how is How.FAILS_BEFORE:
        raise EnvmgrError(words)
    if how is How.HANGS_BEFORE:
        await anyio.sleep_forever()


async def _late(how: How, words: str) -> None:
    await anyio.lowlevel.checkpoint()
    if how is How.FAILS_AFTER:
        raise RuntimeError(words)
    if how is How.HANGS_AFTER:
        await anyio.sleep_forever()


class MemoryJournal:
    """Keeps every commit; from write number `breaks_at` on (0 is the first) the disk is full, for `times` writes."""

    def __init__(self, *, breaks_at: int | None = None, times: int = 1) -> None:
        self.commits: list[tuple[StepRecord, ...]] = []
        self._breaks = range(0) if breaks_at is None else range(breaks_at, breaks_at + times)
        self._writes = 0

    async def write(self, records: Sequence[StepRecord]) -> None:
        number, self._writes = self._writes, self._writes + 1
        await anyio.lowlevel.checkpoint()
        if number in self._breaks:
            raise Unavailable("the disk is full")
        self.commits.append(tuple(records))

    def last(self) -> dict[str, StepRecord]:
        """The trail: the last word on each step."""
        return {record.step: record for commit in self.commits for record in commit}

    def states(self) -> dict[str, StepState]:
        return {name: record.state for name, record in self.last().items()}
