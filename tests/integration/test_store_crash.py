"""SIGKILL at random moments. It shows what a crash of the process leaves, not what a power cut does."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from envmgr.protocols.store import Transaction
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import ROOT, proves

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def _answers_until_killed(path: Path, *, first: int, answers: int) -> set[int]:
    """Have a child write to `path` and kill it after so many answers; returns all that it gave."""
    command = [sys.executable, "-m", "tests.support.store_child", str(path), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(answers + 1)]
        child.kill()
        lines += child.stdout.readlines()
    assert lines[0] == b"opening\n"
    return {int(line) for line in lines[1:] if line.endswith(b"\n")}


async def _stored(path: Path, candidates: range) -> tuple[set[int], set[int]]:
    """Numbers whose event and whose setting are there."""

    def query(tx: Transaction) -> tuple[set[int], set[int]]:
        events = {int(str(event.data["number"])) for event in tx.events(limit=1_000_000)}
        return events, {number for number in candidates if tx.get(f"number-{number}")}

    store = await SqliteStore.open(path)
    try:
        return await store.read(query)
    finally:
        await store.close()


@proves("STORE-001")
async def test_after_a_kill_every_answered_write_is_there_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    answered: set[int] = set()
    first = 0

    for _ in range(25):
        answered |= _answers_until_killed(path, first=first, answers=random.randint(1, 300))
        # At most one more change per client of the child was under way.
        candidates = range(max(answered) + 9)
        events, settings = await _stored(path, candidates)

        assert answered <= events
        assert events == settings
        first = max(events) + 1

    assert len(answered) > 25


@proves("STORE-001")
async def test_a_kill_while_the_store_is_being_created_leaves_one_that_opens(tmp_path: Path) -> None:
    for number in range(5):
        path = tmp_path / str(number) / "state.db"

        answered = _answers_until_killed(path, first=0, answers=0)

        events, _ = await _stored(path, range(0))
        assert answered <= events
