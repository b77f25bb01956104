"""What the store keeps of memories, and how it finds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from envmgr.core.recalling import Terms
from envmgr.model.memory import Memory, MemoryFilter


class Memories(Protocol):
    """Part of a transaction."""

    def add(self, memory: Memory) -> int:
        """Store it (its `id` is ignored) and make it searchable; returns the id."""

    def get(self, memory: int) -> Memory | None:
        """One of them, superseded or not."""

    def many(self, memories: Collection[int]) -> Mapping[int, Memory]:
        """Those of them that there are."""

    def same(self, memory: Memory, *, since_at: float) -> int:
        """The newest one that says just this and was made, or met again, since then, and is not superseded; 0: none."""

    def touch(self, memories: Collection[int], *, at: float) -> None:
        """Somebody has used them."""

    def supersede(self, memory: int, *, by: int) -> None:
        """Another one has taken its place."""

    def contradict(self, one: int, other: int) -> None:
        """They say different things about the same."""

    def contradictions(self, memories: Collection[int]) -> Mapping[int, Sequence[int]]:
        """By memory those that contradict it."""

    def delete(self, memory: int) -> None:
        """Forget it whole; what it superseded counts again. Forgetting twice is harmless."""

    def newest(self, which: MemoryFilter, *, limit: int) -> Sequence[Memory]:
        """The newest of them first."""

    def count(self, repo: str) -> int:
        """How many there are, superseded ones too."""

    def frequencies(self, words: Collection[str]) -> Mapping[str, int]:
        """In how many memories, of all repositories, each word is."""

    def search(self, terms: Terms, which: MemoryFilter, *, limit: int) -> Mapping[int, float]:
        """Relevance (BM25, weighted by field) of the most relevant ones; when too many match, of the newest that do."""

    def neighbours(self, memories: Collection[int]) -> Mapping[int, Sequence[int]]:
        """By memory the ones before and after it in its thread, if they were made within a day of it."""

    def save_vector(self, memory: int, vector: bytes, *, model: str) -> None:
        """What it means, as a model sees it."""

    def vectors(self, memories: Collection[int], *, model: str) -> Mapping[int, bytes]:
        """Those that the model has made."""
