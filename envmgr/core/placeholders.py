"""References `${a.b}` in the strings of a template, and values put in their place.

A string goes through two phases. The early one (`config`) knows params and the person's environment; the late one, `render`,
knows what exists only at spawn: ports, secrets, the worktree. Between them a string is in *late form*:

- text: every literal dollar is written `$$`, every reference left is a late one; `render` turns `$$` into `$` once;
- shell (a command line): only dotted references are ours, every other dollar belongs to the shell and stays as it is.
  Values put into a shell line are quoted for the place where they stand, so a value is always one word of data, never code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from envmgr.errors import ConfigError

_DOTTED = r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+"
REFERENCE = r"\$\{(?P<name>" + _DOTTED + r")\}"


class BadPlaceholder(ConfigError):
    """A `${...}` is malformed, has no value, or has one that cannot safely stand there."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Text as it is meant, `$$` already undone."""

    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """`${a.b}`."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`${NAME}`, `${NAME:-word}` (default) or `${NAME:?word}` (message if missing)."""

    name: str
    operator: str = ""
    word: str = ""


Part = Literal | Reference | Variable

_TEXT = re.compile(
    rf"\$\$|{REFERENCE}|\$\{{(?P<variable>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:[-?])(?P<word>[^}}]*))?\}}|\$\{{"
)


def parse(text: str) -> list[Part]:
    """Split a text string into its parts, in order. A dollar that starts none of the forms is literal.

    Raises:
        BadPlaceholder: `${` is not closed, or what it encloses is none of the forms.
    """
    parts: list[Part] = []
    end = 0
    for found in _TEXT.finditer(text):
        if found.start() > end:
            parts.append(Literal(text[end : found.start()]))
        parts.append(_part(found, text))
        end = found.end()
    if end < len(text):
        parts.append(Literal(text[end:]))
    return parts


def _part(found: re.Match[str], text: str) -> Part:
    if found[0] == "$$":
        return Literal("$")
    if found["name"]:
        return Reference(found["name"])
    if found["variable"]:
        return Variable(found["variable"], found["operator"] or "", found["word"] or "")
    shown = text[found.start() : found.start() + 30].split("}")[0]
    raise BadPlaceholder(
        f"{shown!r} is not a reference",
        hint="Write ${params.NAME}, ${VARIABLE}, ${VARIABLE:-default} or ${VARIABLE:?message}; $$ is a dollar sign.",
    )


def escape(text: str) -> str:
    """Late form of a literal text."""
    return text.replace("$", "$$")


def references(text: str, *, shell: bool) -> list[str]:
    """Names of the dotted references, in order of appearance."""
    if not shell:
        return [part.name for part in parse(text) if isinstance(part, Reference)]
    names: list[str] = []

    def note(name: str) -> None:
        names.append(name)

    fill_shell(text, note)
    return names


def render(text: str, values: Mapping[str, str], *, shell: bool) -> str:
    """Put late values into a string in late form.

    Args:
        text: A string of an `AgentSpec`.
        values: Flat, such as `{"ports.http": "20001", "services.db.ports.sql": "20002"}`.
        shell: The string is a command line for a shell.

    Raises:
        BadPlaceholder: A reference has no value, or (shell only) its value cannot be quoted where it stands.
    """
    if shell:
        return fill_shell(text, lambda name: _known(name, values))
    return "".join(_late(part, values) for part in parse(text))


def _late(part: Part, values: Mapping[str, str]) -> str:
    match part:
        case Literal(text):
            return text
        case Reference(name) | Variable(name):
            return _known(name, values)


def _known(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise BadPlaceholder(
            f"${{{name}}} has no value here", hint="Name a port, service or secret of this template."
        )
    return values[name]


class _Place(Enum):
    PLAIN = auto()
    SINGLE = auto()
    DOUBLE = auto()
    COMMENT = auto()


# What ends or changes each place; a backslash hides the next character everywhere but in '...'.
_NEXT = {
    _Place.PLAIN: re.compile(rf"{REFERENCE}|\\.|\$'|\$\(|<<|['\"`]|(?<![^\s;&|()])#", re.DOTALL),
    _Place.SINGLE: re.compile(rf"{REFERENCE}|'"),
    _Place.DOUBLE: re.compile(rf"{REFERENCE}|\\.|\$\(|[\"`]", re.DOTALL),
    _Place.COMMENT: re.compile(rf"{REFERENCE}|\n"),
}
_TURNS = {
    (_Place.PLAIN, "'"): _Place.SINGLE,
    (_Place.PLAIN, '"'): _Place.DOUBLE,
    (_Place.PLAIN, "#"): _Place.COMMENT,
    (_Place.SINGLE, "'"): _Place.PLAIN,
    (_Place.DOUBLE, '"'): _Place.PLAIN,
    (_Place.COMMENT, "\n"): _Place.PLAIN,
}
# Beyond these a small scanner no longer knows how the shell reads the line, so only harmless values may follow.
_OPAQUE = {"$(", "`", "<<", "$'"}
_HARMLESS = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")


def fill_shell(text: str, lookup: Callable[[str], str | None]) -> str:
    """Replace the dotted references of a command line; where `lookup` answers None the reference stays.

    Raises:
        BadPlaceholder: The value holds shell characters and stands in a comment, a here-document or a substitution.
    """
    out: list[str] = []
    place, is_opaque, at = _Place.PLAIN, False, 0
    while found := _NEXT[place].search(text, at):
        out.append(text[at : found.start()])
        name = found["name"]
        value = lookup(name) if name else None
        out.append(found[0] if value is None else _quote(value, place, name=name, is_opaque=is_opaque))
        is_opaque = is_opaque or found[0] in _OPAQUE
        place = _TURNS.get((place, found[0]), place)
        at = found.end()
    out.append(text[at:])
    return "".join(out)


def _quote(value: str, place: _Place, *, name: str, is_opaque: bool) -> str:
    if value and _HARMLESS.fullmatch(value):
        return value
    if is_opaque or place is _Place.COMMENT:
        raise BadPlaceholder(
            f"the value of ${{{name}}} holds characters that cannot be quoted safely at this place of the command",
            hint="Give it to the command as a variable (env:) and use that, or move it out of $(...), `...` and <<.",
        )
    if place is _Place.DOUBLE:
        return re.sub(r'[\\"$`]', r"\\\g<0>", value)
    # `${` is torn apart, so that the later phase does not take a piece of the value for a reference.
    inner = value.replace("'", "'\\''").replace("${", "$''{")
    return inner if place is _Place.SINGLE else f"'{inner}'"
