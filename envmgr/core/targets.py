"""What can be locked: files of a repository, and things that have a name; see docs/reference/lock-targets.md.

A target is a set of concrete paths or keys. Whatever was written, equal sets have the same `text` and the same `parts`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envmgr.errors import UsageError

DEEP = "**"
"""Among `parts`: zero or more names."""
MAX_CHARS = 1024
_MAX_NAME = 255  # NAME_MAX of Linux
_MAX_DEPTH = 64

_SEPARATORS = {"api": "/", "db": "", "event": ".", "flag": "/", "env": "", "contract": "/", "feature": ":"}
PREFIXES = tuple(_SEPARATORS)
"""Of logical keys; anything else is a path."""

_PREFIXED = re.compile(r"[A-Za-z][A-Za-z0-9_-]*:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_WILD = re.compile(r"[*?]")
_RUN = re.compile(r"[*?]{2,}")
_PARAMETER = re.compile(r"\{[^{}/]*\}")
_ROUTE = re.compile(r"(?:([A-Za-z]+|\*) +)?(/.*)", re.DOTALL)
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Target:
    """A set of paths or keys.

    Attributes:
        prefix: Of a logical key, without its colon; empty for paths. Targets of different prefixes have nothing in common.
        parts: Names, in which `*` and `?` are wild, and `DEEP`. Of `api` the first one is the method.
        text: How it is written; `parse_target(text)` is the same target.
    """

    prefix: str
    parts: tuple[str, ...]
    text: str

    @property
    def bucket(self) -> str:
        """Targets of one prefix with different buckets have nothing in common, unless one of these is empty."""
        names = self.parts[1:] if self.prefix == "api" else self.parts
        return "" if not names or is_wild(names[0]) else names[0]

    @property
    def is_path(self) -> bool:
        """Whether it is about files."""
        return not self.prefix


def is_wild(name: str) -> bool:
    """Whether a part is more than one concrete name."""
    return _WILD.search(name) is not None


@functools.lru_cache(maxsize=4096)
def parse_target(text: str) -> Target:
    """Read a target as somebody wrote it.

    Raises:
        UsageError: It is none; the hint tells how it is written.
    """
    _refuse_odd(text)
    found = _PREFIXED.match(text)
    if found is None:
        return _target("", _path(text, text))
    prefix, body = found[0][:-1], text[found.end() :]
    if prefix not in _SEPARATORS:
        raise UsageError(
            f"{_shown(text)}: no kind of lock is called {prefix}:",
            hint=f"Keys begin with {', '.join(f'{one}:' for one in PREFIXES)}; a file of this name is ./{_shown(text)}.",
        )
    if not body:
        raise _wrong(text, "nothing follows the prefix", hint=_HOW[prefix])
    return _target(prefix, _key(prefix, body, text))


def path_target(path: str) -> Target:
    """The target of one file or folder that exists, by its path in the repository. Raises UsageError when it leads out.

    Characters that a target cannot have become `?`.
    """
    names = (re.sub(r"^\s|\s$|[*\x00-\x1f\x7f\ud800-\udfff]", "?", name) for name in path.split("/"))
    return parse_target("./" + "/".join(names).removeprefix("./"))


def render(prefix: str, names: Sequence[str]) -> str:
    """How a concrete path or key is written."""
    if prefix == "api":
        return f"api:{names[0]} /{'/'.join(names[1:])}"
    if prefix:
        return f"{prefix}:{_SEPARATORS[prefix].join(names)}"
    text = "/".join(names)
    return f"./{text}" if _PREFIXED.match(text) else text


_HOW = {
    "api": "Such as `api:GET /users/{id}`; without a method all are meant.",
    "db": "Such as `db:users` or `db:migration-slot`.",
    "event": "Such as `event:user.created` or `event:user.*`.",
    "flag": "Such as `flag:billing/dark-mode` or `flag:billing/*`.",
    "env": "Such as `env:DATABASE_URL`; ports are allocated, not locked.",
    "contract": "Such as `contract:openapi/v1.yaml`.",
    "feature": "Such as `feature:add-auth` or `feature:add-auth:pause`.",
}
_HOW_PATH = "Paths are relative to the repository: `src/app.py`, `src/` or `src/**/*.py`."


def _refuse_odd(text: str) -> None:
    if len(text) > MAX_CHARS:
        raise _wrong(text, f"longer than {MAX_CHARS} characters")
    if not text.strip():
        raise UsageError("a blank name cannot be locked", hint=_HOW_PATH)
    if found := _CONTROL.search(text):
        raise _wrong(text, f"U+{ord(found[0]):04X} has no place in a name", hint="Write `?` for it.")
    if text != text.strip():
        raise _wrong(text, "there is space around it", hint="Write `?` for a space at the end of a name.")


def _path(body: str, text: str) -> list[str]:
    if body.startswith("/"):
        raise _wrong(text, "it is absolute", hint=_HOW_PATH)
    names = _folded(body, text)
    if not names:  # the whole repository
        return ["*", DEEP]
    is_folder = body.endswith(("/", "/.", "/.."))
    names = _at_least_one(names)
    return [*names, DEEP] if is_folder or not any(map(is_wild, names)) else names


def _folded(body: str, text: str) -> list[str]:
    """Names without `.`, `..` and nothing."""
    names: list[str] = []
    for name in body.split("/"):
        if name in ("", "."):
            continue
        if name != "..":
            names.append(_name(name, text))
        elif not names:
            raise _wrong(text, "it leads out of the repository", hint=_HOW_PATH)
        elif names.pop() == DEEP:
            raise _wrong(text, "`..` after `**` leads to no certain place")
    return names


def _key(prefix: str, body: str, text: str) -> list[str]:
    if prefix == "api":
        return _route(body, text)
    if prefix == "contract":
        return ["*", DEEP] if body == "*" else _path(body, text)
    if prefix == "env" and body.isdigit():
        raise _wrong(text, "it is a port", hint=_HOW["env"])
    if prefix == "db":
        body = body.removeprefix("schema:")
    separator = _SEPARATORS[prefix]
    written = body.split(separator) if separator else [body]
    names = [_word(name, text, hint=_HOW[prefix]) for name in written]
    if not separator:
        return ["*" if name == DEEP else name for name in names]
    if names == ["*"] or (prefix == "feature" and len(names) == 1):
        return [names[0].replace(DEEP, "*"), DEEP]
    return _at_least_one(names)


def _route(body: str, text: str) -> list[str]:
    if body == "*":
        return ["*", DEEP]
    found = _ROUTE.fullmatch(body)
    if found is None:
        raise _wrong(text, "a route begins with /", hint=_HOW["api"])
    names = _folded(_PARAMETER.sub("?*", found[2]), text)
    return [(found[1] or "*").upper(), *_at_least_one(names)]


def _word(name: str, text: str, *, hint: str) -> str:
    if not name:
        raise _wrong(text, "a part of it is empty", hint=hint)
    if re.search(r"[\s:]", name):
        raise _wrong(text, "there is a space or a colon too many", hint=hint)
    return _name(name, text)


def _name(name: str, text: str) -> str:
    if len(name) > _MAX_NAME:
        raise _wrong(text, f"a name in it is longer than {_MAX_NAME} characters")
    if name != name.strip():
        raise _wrong(text, "there is space around a name in it", hint="Write `?` for it.")
    if name == DEEP:
        return name
    # `?` before `*`, once: so patterns that mean the same are the same. A name is never empty.
    plain = _RUN.sub(lambda run: "?" * run[0].count("?") + "*" * ("*" in run[0]), name)
    return "*" if plain == "?*" else plain


def _at_least_one(names: list[str]) -> list[str]:
    """A `**` at the end needs at least one name."""
    return [*names[:-1], "*", DEEP] if names[-1:] == [DEEP] else names


def _target(prefix: str, names: Iterable[str]) -> Target:
    parts = tuple(_ordered(names))
    if len(parts) > _MAX_DEPTH:
        raise UsageError(f"a target of more than {_MAX_DEPTH} names cannot be locked")
    return Target(prefix, parts, _written(prefix, parts))


def _ordered(names: Iterable[str]) -> list[str]:
    """`*` before `**`, and `**` once in a row."""
    parts: list[str] = []
    for name in names:
        if parts[-1:] == [DEEP] and name in ("*", DEEP):
            parts[-1:] = [name, DEEP] if name == "*" else [DEEP]
        else:
            parts.append(name)
    return parts


def _written(prefix: str, parts: tuple[str, ...]) -> str:
    if prefix and parts == ("*", DEEP):
        return f"{prefix}:*"
    if prefix == "api":
        method = "" if parts[0] == "*" else f"{parts[0]} "
        return f"api:{method}/{'/'.join(_shortened(parts[1:]))}"
    text = render(prefix, _shortened(parts))
    is_folder = prefix in ("", "contract") and parts[-1] == DEEP and parts[-2] != "*"
    return f"{text}/" if is_folder and any(map(is_wild, parts[:-1])) else text


def _shortened(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Without what is said by the end: a `**` there needs one name more, and a bare name means what is below it, too."""
    if parts[-2:] == ("*", DEEP):
        return (*parts[:-2], DEEP)
    return parts[:-1] if parts[-1:] == (DEEP,) else parts


def _wrong(text: str, why: str, *, hint: str = "") -> UsageError:
    return UsageError(f"{_shown(text)} cannot be locked: {why}", hint=hint)


def _shown(text: str) -> str:
    plain = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text[:_SHOWN])
    return f"{plain}..." if len(text) > _SHOWN else plain
