"""What a text means, as numbers, for those who have a model; without one full text decides alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Meaning(Protocol):
    """Turns texts into vectors and reranks by them."""

    name: str
    """Of the model; vectors of another one are of no use."""

    async def of(self, text: str) -> bytes:
        """The vector of a text; empty when there is no model."""

    def reranked(
        self, scores: Mapping[int, float], vectors: Mapping[int, bytes], asked: bytes
    ) -> dict[int, float]:
        """The scores of hits, changed by how near each is to what was asked. Runs in the store's thread."""


class NoMeaning:
    """Without a model."""

    name = ""

    async def of(self, text: str) -> bytes:
        """Nothing."""
        return b""

    def reranked(
        self, scores: Mapping[int, float], vectors: Mapping[int, bytes], asked: bytes
    ) -> dict[int, float]:
        """As they are."""
        return dict(scores)
