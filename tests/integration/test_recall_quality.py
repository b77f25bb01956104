"""How well recall finds what answers a question, against the ranking it was chosen over (ADR 51).

The memories are made up: each incident is two or three of one task, of which only the first has the words of the question, and
often a later one has the answer. They are as old as half a year, among others that share some words.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from envmgr.core.words import asked, words
from envmgr.model.memory import Memory, MemoryFilter
from envmgr.services.memory import Recollection
from envmgr.services.recalled import Question
from tests.support.clocked import REPO, Clock, ground
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_DAY_S = 86_400.0
_INCIDENTS = 150
_PARTS = (
    "login",
    "checkout",
    "invoice",
    "search",
    "export",
    "upload",
    "report",
    "scheduler",
    "webhook",
    "cache",
    "mailer",
)
_TROUBLES = (
    "times out",
    "leaks memory",
    "returns 500",
    "hangs at start",
    "loses updates",
    "is flaky",
    "rejects unicode",
)
_CAUSES = (
    "shared clock",
    "missing index",
    "stale token",
    "unbounded queue",
    "wrong locale",
    "retry storm",
    "open transaction",
)


@dataclass(frozen=True)
class Case:
    """A question, and the memories that answer it."""

    question: str
    answers: frozenset[str]


def made_up(draw: random.Random) -> tuple[list[Memory], list[Case], dict[str, float]]:
    """Memories, questions, and by summary how many days ago each was made."""
    memories, cases, ages = [], [], {}
    for number in range(_INCIDENTS):
        part, trouble, cause = draw.choice(_PARTS), draw.choice(_TROUBLES), draw.choice(_CAUSES)
        module, days = f"{part}_{draw.choice(_PARTS)}_{number}", draw.uniform(0, 180)
        seen = f"The {module} service {trouble} under load"
        found = f"Cause was a {cause}, number {number}"
        about = f"Discussed colours of buttons in round {number}"
        for summary in (seen, found, about):
            memories.append(
                Memory(
                    repo=REPO,
                    agent="f0x",
                    thread=f"t-{number}" if summary is not about else "",
                    summary=summary,
                )
            )
            ages[summary] = days
        cases.append(Case(f"why does {module.replace('_', ' ')} {trouble}?", frozenset({seen, found})))
    return memories, cases, ages


def by_decay(memories: Sequence[Memory], ages: dict[str, float], question: str) -> list[str]:
    """As the coordinator does that we learned from: any shared word will do, then a tenth less for each day."""
    wanted = set(asked(question))
    hits = [memory.summary for memory in memories if wanted & set(words(memory.summary))]
    return sorted(hits, key=lambda summary: -math.exp(-0.1 * ages[summary]))[:10]


@proves("MEM-005", "MEM-006")
async def test_words_and_neighbours_find_far_more_than_decay(tmp_path: Path) -> None:
    draw, clock = random.Random(5), Clock()
    memories, cases, ages = made_up(draw)
    async with ground(tmp_path, clock) as stand:
        recollection = Recollection(ground=stand)
        aged = sorted(memories, key=lambda one: -ages[one.summary])
        dated = [replace(one, at=clock.at - ages[one.summary] * _DAY_S) for one in aged]
        await stand.write(lambda tx, _: [tx.memories.add(one) for one in dated])
        ours = decayed = 0.0
        for case in cases:
            question = Question(text=case.question, which=MemoryFilter(repo=REPO), token_budget=50_000)
            answer = await recollection.recall(question, refreshes=False)
            ours += _share(case, [hit.memory.summary for hit in answer.hits])
            decayed += _share(case, by_decay(memories, ages, case.question))

    assert ours / len(cases) >= 0.95, "of what answers the question is among the first ten"
    assert ours >= 2 * decayed


def _share(case: Case, found: list[str]) -> float:
    return len(case.answers & set(found)) / len(case.answers)
