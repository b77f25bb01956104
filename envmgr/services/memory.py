"""Remember and recall: what one agent has learned, for all that work on the same repository.

Nothing is stored before secrets are taken out of it. Looking for likenesses and ranking happen on a reading connection; the writer
only checks and inserts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from envmgr.core import likeness, recalling
from envmgr.core.masking import masked
from envmgr.core.recalling import DAY_S, Hit
from envmgr.core.words import asked
from envmgr.errors import Denied, NotFound, UsageError
from envmgr.model.event import NewEvent
from envmgr.model.memory import Memory, MemoryFilter, memory_name, memory_number
from envmgr.model.principal import Principal, Scope
from envmgr.protocols.store import Transaction
from envmgr.services import calls
from envmgr.services.ground import Ground, Tell
from envmgr.services.meaning import Meaning, NoMeaning
from envmgr.services.recalled import Question, Recalled, answer, contradicts, says_the_same

_LOOKED_AT = 150
_RANKED = 50
_ALIKE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRules:
    """What the settings say.

    Attributes:
        dedup_window_s: Within which the same memory is not stored twice.
        half_life_s: After which half of what age can take from a memory's rank is gone.
    """

    dedup_window_s: float = 3600.0
    half_life_s: float = 90 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What became of a memory.

    Attributes:
        is_known: It was known already; `id` is the known one's.
        contradicts: Others that say something different about the same.
    """

    id: int
    is_known: bool = False
    contradicts: tuple[int, ...] = ()
    superseded: int = 0


@dataclass(slots=True, kw_only=True)
class Recollection:
    """The memories of all repositories."""

    ground: Ground
    rules: MemoryRules = MemoryRules()
    meaning: Meaning = field(default_factory=NoMeaning)

    # --- remember --------------------------------------------------------------------------------------------

    async def remember(
        self, memory: Memory, *, supersedes: str = "", secrets: Collection[str] = ()
    ) -> Remembered:
        """Store it, unless it was stored or used a short while ago.

        Args:
            supersedes: Name of the one whose place it takes.
            secrets: Values that must not be kept, beside what looks like one.

        Raises:
            NotFound: There is no memory to supersede.
        """
        memory = replace(_clean(memory, secrets), at=self.ground.now())
        alike = await self.ground.search(lambda tx: self._alike(tx, memory))
        vector = await self.meaning.of(f"{memory.summary}\n{' '.join(memory.lessons)}")
        old = memory_number(supersedes) if supersedes else 0
        return await self.ground.write(
            lambda tx, tell: self._store(tx, tell, memory, alike, vector, old, supersedes)
        )

    def _store(
        self, tx: Transaction, tell: Tell, memory: Memory, alike: Sequence[Memory], vector: bytes, old: int, named: str
    ) -> Remembered:  # fmt: skip
        since_at = memory.at - self.rules.dedup_window_s
        if named:
            _check_there(tx, memory.repo, old, named)
        known = tx.memories.same(memory, since_at=since_at) or self._same(tx, memory, alike, since_at)
        if known and known != old:
            tx.memories.touch([known], at=memory.at)
            if old:
                tx.memories.supersede(old, by=known)
            _note(known, "deduplicated")
            return Remembered(id=known, is_known=True, superseded=old)
        number = tx.memories.add(memory)
        if vector:
            tx.memories.save_vector(number, vector, model=self.meaning.name)
        if old:
            tx.memories.supersede(old, by=number)
        others = [m.id for m in alike if m.id != old and contradicts(memory, m) and tx.memories.get(m.id)]
        for other in others:
            tx.memories.contradict(number, other)
        _note(number, "created")
        data = {"memory": memory_name(number), "event_type": memory.event_type, "repo": memory.repo}
        tell(NewEvent(kind="memory.remembered", agent=_agent(memory), data=data))
        return Remembered(id=number, contradicts=tuple(others), superseded=old)

    def _alike(self, tx: Transaction, memory: Memory) -> Sequence[Memory]:
        """Those that are about the same, the most like it first."""
        found = self._relevant(tx, memory.summary, MemoryFilter(repo=memory.repo), limit=_ALIKE * 2)
        close = [
            (likeness.likeness(memory.summary, other.summary), other)
            for other in tx.memories.many(found).values()
        ]
        close = [one for one in close if one[0] >= likeness.CLOSE]
        return [other for _, other in sorted(close, key=lambda one: -one[0])[:_ALIKE]]

    def _same(self, tx: Transaction, memory: Memory, alike: Sequence[Memory], since_at: float) -> int:
        """One that says the same in nearly the same words, made or used within the window."""
        for other in alike:
            is_young = max(other.at, other.used_at) >= since_at
            is_alike = likeness.likeness(memory.summary, other.summary) >= likeness.SAME
            if is_young and is_alike and says_the_same(memory, other) and tx.memories.get(other.id):
                return other.id
        return 0

    # --- recall ----------------------------------------------------------------------------------------------

    async def recall(self, question: Question, *, refreshes: bool = True) -> Recalled:
        """What helps with it, best first.

        Args:
            refreshes: Being recalled keeps a memory young.
        """
        vector = await self.meaning.of(question.text)
        found = await self.ground.search(lambda tx: self._find(tx, question, vector))
        if found.hits and refreshes:
            ids = [hit.memory.id for hit in found.hits]
            now = self.ground.now()
            await self.ground.write(lambda tx, _: tx.memories.touch(ids, at=now))
        return found

    def _find(self, tx: Transaction, question: Question, vector: bytes) -> Recalled:
        now = self.ground.now()
        if question.text.strip():
            scores = self._relevant(
                tx, question.text, question.which, limit=_LOOKED_AT, ranked=max(_RANKED, question.limit)
            )
            memories = [m for m in tx.memories.many(scores).values() if _fits(m, question.which)]
            scores = self.meaning.reranked(
                scores, tx.memories.vectors(scores, model=self.meaning.name), vector
            )
        else:
            memories = list(tx.memories.newest(question.which, limit=_LOOKED_AT))
            scores = {memory.id: 1.0 for memory in memories}
        hits = [
            Hit(
                memory=memory,
                score=scores[memory.id]
                * recalling.weight(memory, now=now, half_life_s=self.rules.half_life_s, here=question.here),
            )
            for memory in memories
        ]
        return answer(tx, sorted(hits, key=lambda hit: (-hit.score, -hit.memory.id)), question, now)

    def _relevant(
        self, tx: Transaction, text: str, which: MemoryFilter, *, limit: int, ranked: int = 0
    ) -> Mapping[int, float]:
        """The best by relevance alone.

        Args:
            ranked: So many, with what was remembered before and after them; 0: alone.
        """
        terms = recalling.terms(tx.memories.frequencies(asked(text)))
        scores = dict(tx.memories.search(terms, which, limit=limit))
        if terms.others and len(scores) < min(limit, terms.promised):
            # Words that are rare elsewhere are not what tells memories of this repository from each other.
            scores |= tx.memories.search(terms.all(), which, limit=limit)
        if not ranked:
            return scores
        best = sorted(scores, key=lambda n: -scores[n])[:ranked]
        found = recalling.with_neighbours(scores, tx.memories.neighbours(best))
        return dict(sorted(found.items(), key=lambda one: -one[1])[:ranked])

    # --- the rest --------------------------------------------------------------------------------------------

    async def to_forget(self, repo: str, named: str, *, by: Principal) -> Memory:
        """What `forget` would delete. Raises as that does."""
        return await self.ground.read(lambda tx: _check_own(tx, repo, named, by))

    async def forget(self, repo: str, named: str, *, by: Principal) -> Memory:
        """Delete one for good; agents may forget their own.

        Raises:
            NotFound: There is no such memory.
            Denied: It is somebody else's.
        """
        number = memory_number(named)

        def change(tx: Transaction, tell: Tell) -> Memory:
            memory = _check_own(tx, repo, named, by)
            tx.memories.delete(number)
            _note(number, "forgotten")
            tell(NewEvent(kind="memory.forgotten", agent=by.agent, data={"memory": memory_name(number)}))
            return memory

        return await self.ground.write(change)

    async def newest(self, which: MemoryFilter, *, limit: int) -> Sequence[Memory]:
        """The newest first."""
        return await self.ground.search(lambda tx: tx.memories.newest(which, limit=limit))


def _fits(memory: Memory, which: MemoryFilter) -> bool:
    """Neighbours come in without having been asked for."""
    return (
        memory.repo == which.repo
        and (which.has_superseded or not memory.superseded_by)
        and (not which.agent or memory.agent == which.agent)
        and (not which.event_types or memory.event_type in which.event_types)
        and (not which.tags or bool(set(which.tags) & set(memory.tags)))
        and (not which.paths or recalling.is_about(memory, which.paths))
        and memory.at >= which.since_at
    )


def _clean(memory: Memory, secrets: Collection[str]) -> Memory:
    """Without secrets.

    Raises:
        UsageError: Nothing is left of the summary.
    """

    def clean(text: str) -> str:
        return masked(text.replace("\x00", ""), secrets).strip()

    summary = clean(memory.summary)
    if not summary:
        raise UsageError("a memory needs a summary", hint="Say in a sentence what happened.")
    return replace(
        memory,
        summary=summary,
        details=clean(memory.details),
        lessons=tuple(filter(None, map(clean, memory.lessons))),
        tags=tuple(dict.fromkeys(filter(None, map(clean, memory.tags)))),
        files=tuple(dict.fromkeys(filter(None, map(clean, memory.files)))),
    )


def _check_there(tx: Transaction, repo: str, number: int, named: str) -> Memory:
    memory = tx.memories.get(number)
    if memory is None or memory.repo != repo:
        raise NotFound(f"no memory {named[:80]}", hint="See `envmgr memory ls`.")
    return memory


def _check_own(tx: Transaction, repo: str, named: str, by: Principal) -> Memory:
    memory = _check_there(tx, repo, memory_number(named), named)
    if memory.agent != by.id and not by.may(Scope.ADMIN):
        raise Denied(
            f"{memory_name(memory.id)} is a memory of {memory.agent_name or memory.agent}",
            hint="Remember what is right, with `supersedes`; or ask a person to forget it.",
        )
    return memory


def _note(number: int, action: str) -> None:
    """For the audit trail."""
    call = calls.current()
    if call is not None:
        call.target = memory_name(number)
        call.result = {"memory_id": memory_name(number), "action": action}


def _agent(memory: Memory) -> str:
    return "" if ":" in memory.agent else memory.agent
