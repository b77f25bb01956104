"""A BERT sentence model (MiniLM) in plain numpy: a text becomes a vector, and near vectors mean nearly the same.

Loaded at the first use, in a thread. Where it cannot be loaded, full text decides alone, and the log says why.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from envmgr.aio import blocking
from envmgr.drivers.wordpieces import WordPieces
from envmgr.errors import ConfigError, EnvmgrError

log = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[np.float32]]

_MOST_TOKENS = 256
_LOAD_S, _EMBED_S = 60.0, 10.0
_SHARE = 0.5
"""Of a score that the meaning decides; the words decide the rest."""
_KINDS = {"F32": np.float32, "F16": np.float16}


class Sentences:
    """`envmgr.services.meaning.Meaning` of a folder with `model.safetensors`, `tokenizer.json` and `config.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: Model | None = None
        self._is_broken = False
        self.name = folder.name

    async def of(self, text: str) -> bytes:
        """The vector of a text; empty when there is no model, or no time."""
        if self._is_broken or not text.strip():
            return b""
        try:
            if self._model is None:
                self._model = await blocking.look("model", _LOAD_S, Model.load, self._folder)
            return await blocking.look("model", _EMBED_S, self._model.embed, text)
        except EnvmgrError as error:
            self._is_broken = isinstance(error, ConfigError)
            log.warning("memory without meaning", extra={"model": str(self._folder), "why": error.message})
            return b""

    def reranked(
        self, scores: Mapping[int, float], vectors: Mapping[int, bytes], asked: bytes
    ) -> dict[int, float]:
        """Half by words, half by meaning; hits without a vector keep the order that their words give."""
        if not asked or not vectors or not scores:
            return dict(scores)
        question, best = np.frombuffer(asked, np.float32), max(scores.values()) or 1.0
        near = {
            memory: float(found @ question)
            for memory, raw in vectors.items()
            if (found := np.frombuffer(raw, np.float32)).shape == question.shape
        }
        usual = sum(near.values()) / len(near) if near else 0.0
        return {
            memory: (1 - _SHARE) * score / best + _SHARE * max(0.0, near.get(memory, usual))
            for memory, score in scores.items()
        }


class Model:
    """The weights, and the way through them."""

    def __init__(
        self, weights: Mapping[str, Array], pieces: WordPieces, *, heads: int, epsilon: float
    ) -> None:
        self._weights = weights
        self._pieces = pieces
        self._longest = min(_MOST_TOKENS, len(weights["embeddings.position_embeddings.weight"]))
        self._heads = heads
        self._epsilon = epsilon

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Blocking.

        Raises:
            ConfigError: A file is missing, or is of another form.
        """
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            return cls(
                _read(folder / "model.safetensors"),
                WordPieces.load(folder / "tokenizer.json"),
                heads=int(config["num_attention_heads"]),
                epsilon=float(config.get("layer_norm_eps", 1e-12)),
            )
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise ConfigError(
                f"no sentence model can be read from {folder.name} ({error})",
                hint="The setting memory.model names a folder with model.safetensors, tokenizer.json and config.json.",
            ) from error

    def embed(self, text: str) -> bytes:
        """The mean over its tokens, of length 1, as 32-bit numbers. Blocking."""
        hidden = self._embedded(self._pieces.ids(text, at_most=self._longest))
        layer = 0
        while f"encoder.layer.{layer}.attention.self.query.weight" in self._weights:
            hidden = self._layer(hidden, f"encoder.layer.{layer}.")
            layer += 1
        mean = hidden.mean(axis=0)
        return bytes((mean / (np.linalg.norm(mean) or 1.0)).astype(np.float32).tobytes())

    def _embedded(self, ids: list[int]) -> Array:
        found = self._weights
        summed = (
            found["embeddings.word_embeddings.weight"][ids]
            + found["embeddings.position_embeddings.weight"][: len(ids)]
            + found["embeddings.token_type_embeddings.weight"][0]
        )
        return self._normal(summed, "embeddings.LayerNorm")

    def _layer(self, hidden: Array, name: str) -> Array:
        mixed = self._linear(
            self._attended(hidden, f"{name}attention.self."), f"{name}attention.output.dense"
        )
        hidden = self._normal(hidden + mixed, f"{name}attention.output.LayerNorm")
        inner = _gelu(self._linear(hidden, f"{name}intermediate.dense"))
        return self._normal(hidden + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _attended(self, hidden: Array, name: str) -> Array:
        query, key, value = (self._linear(hidden, f"{name}{part}") for part in ("query", "key", "value"))
        return attention(query, key, value, heads=self._heads)

    def _linear(self, hidden: Array, name: str) -> Array:
        found: Array = hidden @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return found

    def _normal(self, hidden: Array, name: str) -> Array:
        mean, variance = hidden.mean(axis=-1, keepdims=True), hidden.var(axis=-1, keepdims=True)
        scaled = (hidden - mean) / np.sqrt(variance + self._epsilon)
        found: Array = scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return found


def attention(query: Array, key: Array, value: Array, *, heads: int) -> Array:
    """Of each word to all words, by each head (Vaswani et al. 2017, 3.2); rows are words."""
    queries, keys, values = (
        rows.reshape(len(rows), heads, -1).swapaxes(0, 1) for rows in (query, key, value)
    )
    scores = queries @ keys.swapaxes(1, 2) / np.sqrt(queries.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    found: Array = (weights @ values).swapaxes(0, 1).reshape(len(query), -1)
    return found


def _gelu(x: Array) -> Array:
    """By tanh, which is within 0.001 of the exact one that needs an error function."""
    found: Array = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return found


def _read(file: Path) -> dict[str, Array]:
    """Tensors of a safetensors file: the length of a JSON header, the header, the numbers."""
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    found: dict[str, Array] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _KINDS:
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        numbers = np.frombuffer(raw[begin:end], _KINDS[entry["dtype"]]).astype(np.float32)
        # Some have been saved as part of a larger model.
        found[name.removeprefix("bert.").removeprefix("0.auto_model.")] = numbers.reshape(entry["shape"])
    return found
