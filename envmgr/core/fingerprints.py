"""Whether two failures look the same: their last error lines without all that differs from launch to launch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2s

_LINES = 5
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]")
_ERROR = re.compile(r"error|exception|fatal|panic|fail|cannot|could not|unable|not found|refused|denied|assert", re.IGNORECASE)  # fmt: skip
_VARYING = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"(?:[A-Za-z]:|~|\.{1,2})?(?:/[\w.@%+=~-]+)+/([\w.@%+=~-]+)"), r"\1"),
    (re.compile(r"\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\b,?|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\b", re.IGNORECASE), ""),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:[.,:TZ-]\d+)*Z?"), "<n>"),
    (re.compile(r"\s+"), " "),
)  # fmt: skip


def plain(line: str) -> str:
    """The line without colours."""
    return _ANSI.sub("", line)


def error_lines(output: Sequence[str], *, count: int = _LINES) -> tuple[str, ...]:
    """Those that seem to tell what went wrong, oldest first; the last ones when none does."""
    lines = [text for line in output if (text := plain(line).strip())]
    telling = [line for line in lines if _ERROR.search(line)]
    return tuple((telling or lines)[-count:])


def normal(line: str) -> str:
    """The line as it reads at every launch: no numbers, addresses, times, ids, folders."""
    text = plain(line)
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text.strip().lower()


def fingerprint(output: Sequence[str], *more: str) -> str:
    """Twelve characters; `more` is what is known beside the output, such as how it ended, taken as it is."""
    text = "\n".join((*more, *(normal(line) for line in error_lines(output))))
    return blake2s(text.encode(), digest_size=6).hexdigest()
