"""From memories in the order of their relevance to an answer: nothing twice, contradictions side by side, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from envmgr.core import likeness, recalling
from envmgr.core.recalling import Hit
from envmgr.model.memory import Memory, MemoryFilter
from envmgr.protocols.store import Transaction

_LEAST_SHARE = 0.05
"""Of the best hit's score; what is below has a word in common by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be recalled.

    Attributes:
        text: Any words; empty for the newest of what the filter says.
        here: Paths that who asks is working on; memories about them rise.
        least_share: Of the best hit's score; 0 leaves out only what has a word in common by chance.
    """

    text: str
    which: MemoryFilter
    here: tuple[str, ...] = ()
    limit: int = 10
    token_budget: int = 1500
    least_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """The answer, best first.

    Attributes:
        text: Ready for a prompt; within the budget.
        is_cut: There were more than fit into the budget.
    """

    hits: tuple[Hit, ...] = ()
    text: str = ""
    is_cut: bool = False


def answer(tx: Transaction, hits: Sequence[Hit], question: Question, now: float) -> Recalled:
    """Without what is there twice, with what contradicts a hit right behind it, cut to limit and budget."""
    best = (hits[0].score if hits else 0.0) or 1.0
    shares = [replace(hit, score=hit.score / best) for hit in hits]
    least = max(_LEAST_SHARE, question.least_share)
    kept = [hit for hit in _unlike(shares, question.limit) if hit.score >= least]
    against = tx.memories.contradictions([hit.memory.id for hit in kept])
    others = tx.memories.many({n for ids in against.values() for n in ids})
    told: dict[int, Hit] = {}
    for hit in kept:
        beside = [
            others[n] for n in against.get(hit.memory.id, ()) if n in others and not others[n].superseded_by
        ]
        for memory in (hit.memory, *beside):
            ids = tuple(n for n in (hit.memory.id, *(m.id for m in beside)) if beside and n != memory.id)
            told.setdefault(memory.id, Hit(memory=memory, score=hit.score, contradicts=ids))
    chosen = list(told.values())[: question.limit]
    text, count = recalling.told(chosen, now=now, token_budget=question.token_budget)
    return Recalled(hits=tuple(chosen[:count]), text=text, is_cut=count < len(chosen))


def _unlike(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The first ones of which none says just what a better one does."""
    kept: list[Hit] = []
    said: list[frozenset[tuple[str, ...]]] = []
    for hit in hits:
        mine = likeness.shingles(hit.memory.summary)
        alike = (
            other.memory
            for other, theirs in zip(kept, said, strict=True)
            if len(mine & theirs) / len(mine | theirs) >= likeness.SAME
        )
        if any(says_the_same(hit.memory, other) for other in alike):
            continue
        kept.append(hit)
        said.append(mine)
        if len(kept) >= limit:
            break
    return kept


def says_the_same(one: Memory, known: Memory) -> bool:
    """Whoever has the known one learns nothing from the other, whose summary is alike."""
    return (
        one.event_type == known.event_type
        and not likeness.adds_words(one.summary, known.summary)
        and one.details in ("", known.details)
        and set(one.lessons) <= set(known.lessons)
        and set(one.files) <= set(known.files)
        and not contradicts(one, known)
    )


def contradicts(one: Memory, other: Memory) -> bool:
    """About the same, and one denies, counts or went otherwise than the other."""
    if likeness.likeness(one.summary, other.summary) < likeness.CLOSE:
        return False
    went = {one.outcome, other.outcome}
    is_opposite = len(went) == 2 and "neutral" not in went
    return is_opposite or likeness.differs_in_substance(one.summary, other.summary)
