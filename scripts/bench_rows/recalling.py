"""Recall over many memories."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from envmgr.model.memory import Memory, MemoryFilter
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground
from envmgr.services.memory import Recollection
from envmgr.services.recalled import Question
from envmgr.store.sqlite import SqliteStore
from scripts.bench_rows.rows import Row, median, row

_MEMORIES = 100_000
_QUESTIONS = 200
_BATCH = 2000
_WORDS, _IN_SUMMARY, _IN_DETAILS, _IN_QUESTION = 8000, 12, 25, 5
_REPO = "/repo"
_DAY_S = 86_400.0
_BAR_MS = 40.0
_LETTERS = "bdfgklmnprst", "aeiou"


def rows() -> Sequence[Row]:
    """Words are as frequent as in a language: a few are in every tenth memory, most are rare."""
    return [asyncio.run(_measured())]


async def _measured() -> Row:
    chance = random.Random(5)
    words = _vocabulary(chance)
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(_WORDS)))

    def text(count: int) -> str:
        return " ".join(chance.choices(words, cum_weights=weights, k=count))

    with tempfile.TemporaryDirectory(prefix="eb-", dir="/tmp") as folder:
        store = await SqliteStore.open(Path(folder) / "envmgr.db")
        now = time.time()
        for _ in range(_MEMORIES // _BATCH):
            some = [
                Memory(
                    repo=_REPO, agent="f0x", agent_name="fox", summary=text(_IN_SUMMARY), details=text(_IN_DETAILS),
                    tags=(chance.choice(words),), files=(f"src/{chance.choice(words)}.py",),
                    at=now - chance.random() * 90 * _DAY_S,
                )
                for _ in range(_BATCH)
            ]  # fmt: skip
            await store.write(partial(_add, memories=some))
        ground = Ground(store=store, now=time.time, steady=time.time, publish=lambda events: None)
        memory, which = Recollection(ground=ground), MemoryFilter(repo=_REPO)
        times = []
        for _ in range(_QUESTIONS):
            question = Question(text=text(_IN_QUESTION), which=which)
            began = time.perf_counter()
            found = await memory.recall(question)
            times.append((time.perf_counter() - began) * 1000)
            assert found.hits
        await store.close()
    worst = sorted(times)[int(len(times) * 0.95)]
    return row(
        "coordinate", f"recall over {_MEMORIES:,} memories, p50 of {_QUESTIONS}", value=median(times), unit="ms",
        reference=_BAR_MS, bar=1.0, note=f"reference: {_BAR_MS:.0f} ms; p95 {worst:.1f} ms",
    )  # fmt: skip


def _vocabulary(chance: random.Random) -> list[str]:
    syllables = ["".join(pair) for pair in itertools.product(*_LETTERS)]
    return ["".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(_WORDS)]


def _add(tx: Transaction, *, memories: Sequence[Memory]) -> None:
    for memory in memories:
        tx.memories.add(memory)
