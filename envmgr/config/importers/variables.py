"""Variables of compose files: `${NAME}`, its defaults and `.env`, as a template says the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import wrong
from envmgr.config.importers.findings import Report
from envmgr.config.nodes import Leaf
from envmgr.config.problems import Mark
from envmgr.config.variables import looks_secret
from envmgr.core.placeholders import Literal, Part, Reference, Variable

_START = re.compile(r"\$(?:\$|\{|(?P<name>[A-Za-z_][A-Za-z0-9_]*))")
_BRACED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:?[-?+])(?P<word>.*))?", re.DOTALL)
_WITH_PASSWORD = re.compile(r"://[^/\s@:]*:[^/\s@]+@")
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """A variable as a compose file asks for it."""

    name: str
    operator: str = ""
    word: str = ""


@dataclass(slots=True)
class Declared:
    """What the strings of a template turn out to need at its top.

    Attributes:
        params: Default and place by name.
        secrets: Where from (as a template says it) and place by name.
    """

    params: dict[str, tuple[str, Mark]] = field(default_factory=dict)
    secrets: dict[str, tuple[Mapping[str, str], Mark]] = field(default_factory=dict)

    def param(self, name: str, default: str, mark: Mark) -> str:
        """Its name; another one when the name is taken for another default."""
        base = name.lower()[:38]
        for wanted in (base, *(f"{base}_{count}" for count in range(2, 99))):
            if self.params.setdefault(wanted, (default, mark))[0] == default:
                return wanted
        raise wrong(mark, f"{name} has too many different defaults")

    def secret(self, name: str, source: Mapping[str, str], mark: Mark) -> Reference:
        """A reference to it; the first place that needs it says where it comes from."""
        self.secrets.setdefault(name, (source, mark))
        return Reference(f"secrets.{name}")


def scan(text: str, mark: Mark) -> Iterator[str | Asked]:
    """Literal pieces (`$$` undone) and variables, in order.

    Raises:
        ConfigError: `${` is not closed, or holds something else than a variable.
    """
    at = 0
    while found := _START.search(text, at):
        if found.start() > at:
            yield text[at : found.start()]
        at = found.end()
        if found["name"]:
            yield Asked(found["name"])
        elif found[0] == "$$":
            yield "$"
        else:
            inner, at = _inside(text, at, mark)
            braced = _BRACED.fullmatch(inner)
            if braced is None:
                shown = f"${{{inner[:30]}}}"
                raise wrong(mark, f"{shown!r} is not a variable", "Write $$ for a dollar sign.")
            yield Asked(braced["name"], braced["operator"] or "", braced["word"] or "")
    if at < len(text):
        yield text[at:]


def _inside(text: str, start: int, mark: Mark) -> tuple[str, int]:
    """What stands in the braces opened just before `start`, and where it goes on."""
    depth = 1
    for found in re.compile(r"\$\{|\}").finditer(text, start):
        depth += 1 if found[0] == "${" else -1
        if depth == 0:
            return text[start : found.start()], found.end()
    raise wrong(mark, f"{text[start - 2 : start + 28]!r} has no closing brace", "Write $$ for a dollar sign.")


class Variables:
    """The variables of files that share one `.env`."""

    def __init__(self, dotenv: Mapping[str, str], *, shown: str, report: Report, declared: Declared) -> None:
        """`shown` is the `.env` file, relative to the repository."""
        self._dotenv, self._shown, self._report, self._declared = dotenv, shown, report, declared

    def parts(self, leaf: Leaf, key: str, *, is_late: bool = True) -> list[Part]:
        """The pieces of a value.

        Args:
            leaf: The value.
            key: Where it stands, for the report.
            is_late: Whether secrets may stand there; elsewhere they are empty, and reported.
        """
        if "$" not in leaf.text:
            return [Literal(leaf.text)]
        return [
            Literal(piece) if isinstance(piece, str) else self._part(piece, leaf.mark, key, is_late=is_late)
            for piece in scan(leaf.text, leaf.mark)
        ]

    def text(self, leaf: Leaf, key: str, *, is_late: bool = True) -> Leaf:
        """The value as text of a template."""
        if "$" not in leaf.text:
            return Leaf(leaf.mark, leaf.text, leaf.text)
        text = phrases.text(self.parts(leaf, key, is_late=is_late))
        return Leaf(leaf.mark, text, text)

    def now(self, leaf: Leaf) -> str:
        """The value as `.env` and the defaults in the file make it, for what must be known to read the file."""
        return self._now(leaf.text, leaf.mark)

    def given(self, name: str, mark: Mark, key: str) -> list[Part]:
        """A variable that is passed on under its own name."""
        return [self._part(Asked(name, "-"), mark, key, is_late=True)]

    def _now(self, text: str, mark: Mark, depth: int = 0) -> str:
        if depth > _DEEPEST:
            raise wrong(mark, f"variables inside variables, more than {_DEEPEST} deep")
        return "".join(
            piece if isinstance(piece, str) else self._value(piece, mark, depth + 1)
            for piece in scan(text, mark)
        )

    def _value(self, asked: Asked, mark: Mark, depth: int) -> str:
        known = self._dotenv.get(asked.name)
        is_there = bool(known) if asked.operator.startswith(":") else known is not None
        match asked.operator.removeprefix(":"):
            case "+":
                return self._now(asked.word, mark, depth) if is_there else ""
            case "-" if not is_there:
                return self._now(asked.word, mark, depth)
        return known or ""

    def _part(self, asked: Asked, mark: Mark, key: str, *, is_late: bool) -> Part:
        name = asked.name
        if asked.operator in (":+", "+"):
            self._report.changed(mark, key, f"whether {name} is set is decided now, not at each start")
            return Literal(self._value(asked, mark, 1))
        known = self._dotenv.get(name)
        default = known or (self._now(asked.word, mark, 1) if asked.operator.endswith("-") else "")
        if looks_secret(name) or (known and _WITH_PASSWORD.search(known)):
            return self._secret(asked, default, mark, key, is_late=is_late)
        if known:
            self._report.changed(
                mark, key, f"{name} is {known!r} unless it is set, as {self._shown} says now"
            )
        elif asked.operator == "-" and not asked.word:
            return Variable(name, ":-", "")
        if default or asked.operator.endswith("-"):
            return self._default(name, default, mark, key)
        if asked.operator:
            return Variable(name, ":?", re.sub(r"[{}$]", "", self._now(asked.word, mark, 1)))
        self._report.changed(mark, key, f"{name} must be set at each spawn; compose would take it as empty")
        return Variable(name)

    def _default(self, name: str, default: str, mark: Mark, key: str) -> Part:
        if "}" not in default:
            return Variable(name, ":-", default)
        self._report.changed(mark, key, f"{name} is not read: its default holds a brace, and is written out")
        return Literal(default)

    def _secret(self, asked: Asked, default: str, mark: Mark, key: str, *, is_late: bool) -> Part:
        name = asked.name
        if not self._dotenv.get(name) and default:
            param = self._declared.param(name, default, mark)
            says = f"{name} looks like a secret and is not read; its default is the param {param!r}"
            self._report.changed(mark, key, f"{says}, for `--param {param}=...`")
            return Reference(f"params.{param}")
        if not is_late:
            self._report.unsupported(
                mark, key, f"{name} looks like a secret, which cannot stand here; left empty"
            )
            return Literal("")
        if self._dotenv.get(name):
            self._report.changed(
                mark, key, f"{name} is a secret that is read from {self._shown} at each start"
            )
            source = {"from": "file", "path": f"{self._shown}#{name}"}
            return self._declared.secret(name, source, mark)
        self._report.changed(mark, key, f"{name} is a secret: it must be set where you spawn")
        return self._declared.secret(name, {"from": "env"}, mark)
