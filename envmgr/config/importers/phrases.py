"""Strings of an imported file as pieces, and the pieces as a string of a template.

Other formats write variables otherwise than templates do, and a template knows two kinds of strings: text, where every
`${...}` is ours, and shell lines, where only dotted references are.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence

from envmgr.config.importers.asking import wrong
from envmgr.config.problems import Mark
from envmgr.core.placeholders import Literal, Part, Reference, Variable, escape

_FIRST_STAND_IN = 0xF0000  # a plane for private use: no such character is in a file that people wrote
_STAND_INS = 0xFFFF


def text(parts: Iterable[Part]) -> str:
    """As text of a template."""
    return "".join(_written(part, in_text=True) for part in parts)


def shell(parts: Sequence[Part]) -> str | list[str]:
    """As a command for the shell: a line, or words that call the shell when variables of the host stand in it.

    In a line every `$NAME` would be the shell's own.
    """
    if any(isinstance(part, Variable) for part in parts):
        return ["/bin/sh", "-c", text(parts)]
    return "".join(_written(part, in_text=False) for part in parts)


def split(parts: Sequence[Part], mark: Mark, what: str) -> list[str]:
    """A line as its words, each text of a template. A variable stays within one word, whatever its value."""
    stand_ins = {chr(_FIRST_STAND_IN + number): part for number, part in enumerate(parts[:_STAND_INS])}
    line = "".join(
        part.text if isinstance(part, Literal) else stand_in for stand_in, part in stand_ins.items()
    )
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise wrong(mark, f"{what}: {str(error).lower()}", "Close the quote.") from error
    return [
        "".join(_written(stand_ins[c], in_text=True) if c in stand_ins else escape(c) for c in word)
        for word in words
    ]


def now(parts: Iterable[Part], known: Callable[[str], str | None]) -> str:
    """The value as far as it can be told without a spawn: defaults count, what is not known is empty."""
    out = []
    for part in parts:
        match part:
            case Literal(found):
                out.append(found)
            case Variable(name, _, word):
                out.append(known(name) or ("" if part.operator == ":?" else word))
            case Reference():
                pass
    return "".join(out)


def _written(part: Part, *, in_text: bool) -> str:
    match part:
        case Literal(found):
            return escape(found) if in_text else found
        case Reference(name):
            return f"${{{name}}}"
        case Variable(name, operator, word):
            return f"${{{name}{operator}{word}}}"
