"""What is wrong with a file, where, and how it is told: all of it at once, the first one in the message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envmgr.errors import ConfigError

Path = tuple[str | int, ...]
"""Where in a document: keys and list positions from the top."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, as people count: from 1. `line` 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding. A warning does not keep the file from being used."""

    mark: Mark
    message: str
    path: str = ""
    hint: str = ""
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.mark}: {'warning: ' if self.is_warning else ''}{self.message}"

    def facts(self) -> dict[str, object]:
        """JSON-able form."""
        return {
            "file": self.mark.file,
            "line": self.mark.line,
            "column": self.mark.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
            "warning": self.is_warning,
        }


def dotted(path: Iterable[str | int]) -> str:
    """`services.web.command[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(word: str, words: Iterable[str]) -> str:
    """The known word that was probably meant, or an empty string."""
    known = {candidate.lower(): candidate for candidate in words}
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return known[close[0]] if close else ""


def did_you_mean(word: str, words: Iterable[str], *, among: str = "Known here") -> str:
    """A hint: the nearest word, else all of them."""
    known = list(words)
    if close := nearest(word, known):
        return f"Did you mean {close!r}?"
    return f"{among}: {', '.join(known)}." if known else ""


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    """Those that keep the file from being used, in the order of the file."""
    found = {problem for problem in problems if not problem.is_warning}
    return sorted(found, key=lambda p: (p.mark.file, p.mark.line, p.mark.column, p.message))


class BadFile(ConfigError):
    """A file cannot be used; `problems` has all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first, more = problems[0], len(problems) - 1
        tail = f" (and {more} more {'error' if more == 1 else 'errors'})" if more else ""
        super().__init__(
            f"{first}{tail}",
            hint=first.hint or "Correct this line.",
            details={**first.facts(), "errors": [problem.facts() for problem in problems]},
        )
        self.problems = tuple(problems)


def raise_errors(problems: Iterable[Problem]) -> None:
    """Raise if there is any error among them."""
    if errors := errors_of(problems):
        raise BadFile(errors)
