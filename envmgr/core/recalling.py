"""Which memories help with a question: the order in which they are told, and how much of them.

Full-text relevance decides. Age only settles near ties: an old memory loses a fifth at most (design: coordination 1.6).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from envmgr.model.memory import Memory, Outcome

DAY_S = 86_400.0
NEIGHBOUR = 0.35
"""Share of a hit's relevance that the memories before and after it get: they are its context."""
_AGE = 0.2
_TAUGHT = 1.1
"""What went well or wrong teaches more than what just happened."""
_PINNED = 1.3
_HERE = 1.25
"""For memories about the files that who asks is working on."""
_LEAD_ROWS = 2500
_MOST_OTHERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a question is looked up by: any of `leads` must be there; `others` count where one is.

    Attributes:
        promised: So many texts, of all repositories, have one of the leads.
    """

    leads: tuple[str, ...]
    others: tuple[str, ...] = ()
    promised: int = 0

    def all(self) -> Terms:
        """Any of them leads."""
        return Terms(leads=(*self.leads, *self.others))


def terms(frequencies: Mapping[str, int]) -> Terms:
    """The rarest words lead: to rank every text that has a common one would take long, and put nothing else first.

    Args:
        frequencies: In how many texts each word is; those in none are passed over.
    """
    known = sorted((count, word) for word, count in frequencies.items() if count)
    leads: list[str] = []
    rows = 0
    for count, word in known:
        rows += count
        if leads and rows > _LEAD_ROWS:
            break
        leads.append(word)
    others = [word for _, word in known[len(leads) :]]
    promised = known[len(leads) - 1][0] if leads else 0
    return Terms(leads=tuple(leads), others=tuple(others[:_MOST_OTHERS]), promised=promised)


def with_neighbours(
    relevance: Mapping[int, float], neighbours: Mapping[int, Collection[int]]
) -> dict[int, float]:
    """Relevance by memory, where each also gets a share of its best neighbour's."""
    found = dict(relevance)
    for memory, beside in neighbours.items():
        for other in beside:
            best = max((relevance.get(n, 0.0) for n in neighbours.get(other, (memory,))), default=0.0)
            found[other] = relevance.get(other, 0.0) + NEIGHBOUR * max(best, relevance.get(memory, 0.0))
    return found


def weight(memory: Memory, *, now: float, half_life_s: float, here: Collection[str] = ()) -> float:
    """By what its relevance is multiplied.

    Args:
        here: Paths that who asks is working on.
    """
    age_s = max(0.0, now - max(memory.at, memory.used_at))
    factor = 1.0 - _AGE + _AGE * float(0.5 ** (age_s / half_life_s))
    factor *= 0.75 + 0.5 * memory.importance
    if memory.outcome is not Outcome.NEUTRAL:
        factor *= _TAUGHT
    if memory.is_pinned:
        factor *= _PINNED
    if is_about(memory, here):
        factor *= _HERE
    return factor


def is_about(memory: Memory, paths: Collection[str]) -> bool:
    """It names one of these files, or a file in one of these folders."""
    return any(file == path or file.startswith(f"{path}/") for file in memory.files for path in paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A memory that is told, with the ones that say otherwise."""

    memory: Memory
    score: float
    contradicts: tuple[int, ...] = ()


def told(hits: Sequence[Hit], *, now: float, token_budget: int) -> tuple[str, int]:
    """Text for a prompt, and how many of the hits it has; the first one is always there, if only in part."""
    lines: list[str] = []
    left = token_budget
    for number, hit in enumerate(hits):
        line = _line(hit, now)
        needed = tokens(line)
        if needed > left:
            if number == 0:
                lines.append(line[: max(0, left) * _CHARS_PER_TOKEN])
                number = 1
            return "\n".join(lines), number
        left -= needed
        lines.append(line)
    return "\n".join(lines), len(hits)


_CHARS_PER_TOKEN = 4
_DETAIL_CHARS = 400


def tokens(text: str) -> int:
    """About how many a model takes it for."""
    wide = sum(ord(c) > 0x2E7F for c in text)
    return wide + (len(text) - wide + _CHARS_PER_TOKEN - 1) // _CHARS_PER_TOKEN


def _line(hit: Hit, now: float) -> str:
    memory = hit.memory
    days = int(max(0.0, now - memory.at) // DAY_S)
    age = "today" if days == 0 else f"{days} d ago"
    how = "" if memory.outcome is Outcome.NEUTRAL else f", {memory.outcome}"
    line = f"- [m-{memory.id:06}, {age}, {memory.event_type}{how}] {_flat(memory.summary)}"
    if memory.lessons:
        line += " Lesson: " + "; ".join(map(_flat, memory.lessons)) + "."
    if memory.details:
        line += f" ({_flat(memory.details)[:_DETAIL_CHARS]})"
    if memory.files:
        line += f" Files: {', '.join(memory.files[:6])}."
    if hit.contradicts:
        line += f" Says otherwise than {', '.join(f'm-{n:06}' for n in hit.contradicts)}: compare the dates."
    if memory.superseded_by:
        line += f" Superseded by m-{memory.superseded_by:06}."
    return line


def _flat(text: str) -> str:
    return " ".join(text.split())
