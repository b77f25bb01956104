"""A sentence model in plain numpy, on small models made here."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from envmgr.aio import blocking
from envmgr.drivers.sentences import Array, Model, Sentences, attention
from envmgr.drivers.wordpieces import WordPieces
from envmgr.errors import ConfigError
from tests.support.requirements import proves

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "car", "auto", "##mobile", "banana", ",", "e"]
SIZE, HEADS = 8, 2


def model(folder: Path, *, layers: int) -> Path:
    """Random weights, but `car` and `auto` are the same."""
    draw = np.random.default_rng(7)

    def some(*shape: int) -> Array:
        return draw.normal(0, 0.5, shape).astype(np.float32)

    words = some(len(WORDS), SIZE)
    words[WORDS.index("auto")] = words[WORDS.index("car")]
    tensors = {
        "embeddings.word_embeddings.weight": words,
        "embeddings.position_embeddings.weight": np.zeros((16, SIZE), np.float32),
        "embeddings.token_type_embeddings.weight": np.zeros((2, SIZE), np.float32),
        "embeddings.LayerNorm.weight": np.ones(SIZE, np.float32),
        "embeddings.LayerNorm.bias": np.zeros(SIZE, np.float32),
    }
    for layer in range(layers):
        name = f"encoder.layer.{layer}."
        for part, (out, into) in {
            "attention.self.query": (SIZE, SIZE), "attention.self.key": (SIZE, SIZE), "attention.self.value": (SIZE, SIZE),
            "attention.output.dense": (SIZE, SIZE), "intermediate.dense": (4 * SIZE, SIZE), "output.dense": (SIZE, 4 * SIZE),
        }.items():  # fmt: skip
            tensors |= {f"{name}{part}.weight": some(out, into), f"{name}{part}.bias": some(out)}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors |= {f"{name}{part}.weight": np.ones(SIZE, np.float32), f"{name}{part}.bias": some(SIZE)}
    folder.mkdir()
    save(folder / "model.safetensors", tensors)
    config = {"num_attention_heads": HEADS, "layer_norm_eps": 1e-12}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    vocabulary = {"model": {"vocab": {word: number for number, word in enumerate(WORDS)}}}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    return folder


def save(file: Path, tensors: dict[str, Array]) -> None:
    header, blob = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": tensor.shape,
            "data_offsets": [len(blob), len(blob) + len(raw)],
        }
        blob += raw
    head = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(head)) + head + blob)


def near(one: bytes, other: bytes) -> float:
    return float(np.frombuffer(one, np.float32) @ np.frombuffer(other, np.float32))


@proves("MEM-010")
def test_words_are_cut_into_the_longest_known_pieces() -> None:
    pieces = WordPieces({word: number for number, word in enumerate(WORDS)})

    def said(text: str) -> list[str]:
        return [WORDS[number] for number in pieces.ids(text, at_most=8)]

    assert said("Automobile, É") == ["[CLS]", "auto", "##mobile", ",", "e", "[SEP]"]
    assert said("zebra car") == ["[CLS]", "[UNK]", "car", "[SEP]"]
    assert len(pieces.ids("car " * 99, at_most=8)) == 8


@proves("MEM-010")
@pytest.mark.parametrize("layers", [0, 2])
def test_the_same_meaning_has_the_same_vector_of_length_one(tmp_path: Path, layers: int) -> None:
    found = Model.load(model(tmp_path / "m", layers=layers))

    car, auto, banana = (found.embed(word) for word in ("car", "auto", "banana"))

    assert near(car, car) == pytest.approx(1, abs=1e-5)
    assert near(car, auto) == pytest.approx(1, abs=1e-5)
    assert near(car, banana) < 0.9999


@proves("MEM-010")
def test_attention_is_what_its_definition_says() -> None:
    """Against a slow one, word by word and head by head."""
    query, key, value = np.random.default_rng(1).normal(size=(3, 5, SIZE)).astype(np.float32)
    size = SIZE // HEADS
    slow = np.zeros_like(query)
    for head in range(HEADS):
        at = slice(head * size, (head + 1) * size)
        for word in range(5):
            scores = [query[word, at] @ key[other, at] / size**0.5 for other in range(5)]
            shares = np.exp(scores) / np.exp(scores).sum()
            slow[word, at] = sum(share * value[other, at] for other, share in enumerate(shares))

    assert np.allclose(attention(query, key, value, heads=HEADS), slow, atol=1e-5)


@proves("MEM-010")
@pytest.mark.anyio
async def test_what_words_have_found_is_put_into_a_better_order_and_nothing_is_lost(tmp_path: Path) -> None:
    meaning = Sentences(model(tmp_path / "m", layers=0))
    vectors = {1: await meaning.of("banana"), 2: await meaning.of("auto")}

    scores = meaning.reranked({1: 2.0, 2: 1.9, 3: 0.1}, vectors, await meaning.of("car"))

    assert sorted(scores, key=lambda memory: -scores[memory]) == [2, 1, 3]
    assert meaning.reranked({1: 2.0}, {}, b"") == {1: 2.0}


@proves("MEM-010")
@pytest.mark.anyio
@pytest.mark.parametrize("harm", ["config.json", "tokenizer.json", "model.safetensors"])
async def test_a_model_that_cannot_be_read_leaves_the_words(tmp_path: Path, harm: str) -> None:
    folder = model(tmp_path / "m", layers=0)
    (folder / harm).write_bytes(b"\x01")
    with pytest.raises(ConfigError):
        await blocking.look("model", 5.0, Model.load, folder)

    assert await Sentences(folder).of("car") == b""
