"""Documentation pages as programs: what they tell the reader to type and to write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_WRITE = re.compile(r"Write `([^`]+)`:\s*\Z")

# What differs from run to run and means nothing to the reader.
_VARIES = (
    (re.compile(r"\b2\d{4}\b"), "PORT"),
    (re.compile(r"\b\d+s\b"), "AGE"),
    (re.compile(r"\d{2}/\w{3}/\d{4} [\d:]{8}"), "MOMENT"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `file` is the path that the sentence above it tells to write it to."""

    language: str
    text: str
    line: int
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A `$ ` line of a console block and the output shown below it."""

    line: str
    shown: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        before = text[: found.start()]
        wanted = _WRITE.search(before)
        yield Block(
            language=found[1],
            text=found[2],
            line=before.count("\n") + 1,
            file=wanted[1] if wanted else "",
        )


def commands(block: Block) -> list[Command]:
    """What a console block tells to type, and what it says is printed."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0], f"line {block.line}: output without a command"
    pairs = (part.partition("\n") for part in parts[1:])
    return [Command(line=line, shown=shown) for line, _, shown in pairs]


def agrees(shown: str, printed: str) -> bool:
    """Whether output is as shown: `...` is any text, ports, ages and the width of gaps do not matter."""
    pattern = ".*".join(re.escape(part) for part in same(shown).split("..."))
    return re.fullmatch(pattern, same(printed), flags=re.DOTALL) is not None


def same(text: str) -> str:
    """Text without what differs from run to run."""
    for pattern, word in _VARIES:
        text = pattern.sub(word, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())
