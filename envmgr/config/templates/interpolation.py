"""The early phase: params, names and the person's environment are put into a template's strings.

What exists only at spawn stays as a reference, checked here to exist; see `core.placeholders` for the form of the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from envmgr.config.nodes import Items, Leaf, Node, Table, text_leaf
from envmgr.config.problems import Mark, Path, Problem, did_you_mean, dotted
from envmgr.config.templates.styles import Style, style
from envmgr.config.variables import looks_secret
from envmgr.core.placeholders import (
    BadPlaceholder,
    Literal,
    Reference,
    Variable,
    escape,
    fill_shell,
    parse,
    references,
    render,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What references can name.

    Attributes:
        values: Early values by dotted name.
        env: The agent's variables in late form.
        environment: Variables of the person who spawns; None while a template is only checked.
        late: Names of late references that are good everywhere.
        ports: Port names by service, for the short `ports.NAME`.
        unsure: Early names whose values are samples.
    """

    values: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    late: frozenset[str] = frozenset()
    ports: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()


class Filler:
    """Fills one tree. Afterwards `problems` has all findings, `unsure` the marks of values that depend on samples."""

    def __init__(self, scope: Scope) -> None:
        self.problems: list[Problem] = []
        self.unsure: set[Mark] = set()
        self._scope = scope

    def fill(self, node: Node, at: Path = ()) -> Node:
        """The tree with every string in late form (or complete, where its style says so)."""
        match node:
            case Leaf():
                return self._leaf(node, at)
            case Items(mark, items):
                return Items(mark, tuple(self.fill(item, (*at, index)) for index, item in enumerate(items)))
            case Table(mark, items, keys):
                return Table(mark, {key: self.fill(item, (*at, key)) for key, item in items.items()}, keys)

    def _leaf(self, leaf: Leaf, path: Path) -> Leaf:
        how = style(path)
        try:
            match how:
                case Style.VERBATIM:
                    return leaf
                case Style.RAW:
                    return text_leaf(leaf.mark, leaf.text)
                case Style.EARLY:
                    return self._early(leaf, path)
                case Style.EARLY_TEXT:
                    return self._early(text_leaf(leaf.mark, leaf.text), path)
                case Style.TEXT:
                    return text_leaf(leaf.mark, self._text(leaf, path))
                case Style.SHELL | Style.EARLY_SHELL:
                    return text_leaf(leaf.mark, self._shell(leaf, path, how))
        except BadPlaceholder as error:
            name = dotted(path)
            problem = Problem(mark=leaf.mark, path=name, message=f"{name}: {error.message}", hint=error.hint)
            self.problems.append(problem)
            self.unsure.add(leaf.mark)
            return text_leaf(leaf.mark, "")

    def _early(self, leaf: Leaf, path: Path) -> Leaf:
        if not isinstance(leaf.value, str) or "$" not in leaf.value:
            return leaf
        text = self._text(leaf, path)
        if names := references(text, shell=False):
            raise _too_late(names[0])
        return text_leaf(leaf.mark, render(text, {}, shell=False))

    def _text(self, leaf: Leaf, path: Path) -> str:
        out = []
        for part in parse(leaf.text):
            match part:
                case Literal(text):
                    out.append(escape(text))
                case Variable(name="host", operator="") if path[:1] == ("services",):
                    out.append(f"${{services.{path[1]}.host}}")
                case Variable():
                    out.append(escape(self._variable(part, leaf)))
                case Reference(name):
                    out.append(self._reference(name, leaf, path))
        return "".join(out)

    def _reference(self, name: str, leaf: Leaf, path: Path) -> str:
        """In late form."""
        self._note(name, leaf)
        if name in self._scope.values:
            return escape(self._scope.values[name])
        if name.startswith("env."):
            return self._env(name)
        self._must_exist(name, path)
        return f"${{{name}}}"

    def _note(self, name: str, leaf: Leaf) -> None:
        if name in self._scope.unsure or (name.startswith("env.") and self._scope.environment is None):
            self.unsure.add(leaf.mark)

    def _env(self, name: str) -> str:
        key = name.removeprefix("env.")
        if key in self._scope.env:
            return self._scope.env[key]
        if self._scope.environment is None:
            return ""
        raise BadPlaceholder(
            f"${{{name}}}: the agent has no variable {key!r} (yet)",
            hint="Set it under 'env' before it is used, or write ${NAME} for a variable of your own environment.",
        )

    def _variable(self, part: Variable, leaf: Leaf) -> str:
        if looks_secret(part.name):
            raise BadPlaceholder(
                f"${{{part.name}}} looks like a secret, which would be stored with the agent",
                hint=f"Declare `secrets: {{{part.name}: {{from: env}}}}` and write ${{secrets.{part.name}}}.",
            )
        if self._scope.environment is None:
            self.unsure.add(leaf.mark)
            return part.word if part.operator == ":-" else ""
        value = self._scope.environment.get(part.name, "")
        if value or (not part.operator and part.name in self._scope.environment):
            return value
        if part.operator == ":-":
            return part.word
        raise BadPlaceholder(
            part.word or f"variable {part.name} is not set",
            hint=f"Export {part.name}, or write ${{{part.name}:-default}}.",
        )

    def _shell(self, leaf: Leaf, path: Path, how: Style) -> str:
        def look_up(name: str) -> str | None:
            self._note(name, leaf)
            if name in self._scope.values:
                return self._scope.values[name]
            if name.startswith("env."):
                return self._env_for_shell(name)
            if how is Style.EARLY_SHELL:
                raise _too_late(name)
            self._must_exist(name, path)
            return None

        whole = re.fullmatch(r"\s*\$\{(params\.[\w-]+)\}\s*", leaf.text)
        if whole and whole[1] in self._scope.values:
            # The param is the command, not a word of one.
            self._note(whole[1], leaf)
            return fill_shell(self._scope.values[whole[1]], look_up)
        return fill_shell(leaf.text, look_up)

    def _env_for_shell(self, name: str) -> str:
        text = self._env(name)
        if references(text, shell=False):
            raise BadPlaceholder(
                f"${{{name}}} is known only at spawn", hint=f"The shell has it: write ${name[4:]}."
            )
        return render(text, {}, shell=False)

    def _must_exist(self, name: str, path: Path) -> None:
        own = self._own(path)
        if name in self._scope.late or name in own:
            return
        if name.startswith("ports.") and path[:1] != ("services",):
            everywhere = [known for known in self._scope.late if known.endswith(f".{name}")]
            hint = f"Outside of services write {' or '.join(sorted(everywhere)) or 'services.NAME.' + name}."
        else:
            hint = did_you_mean(name, sorted({*self._scope.values, *self._scope.late, *own}))
        raise BadPlaceholder(f"${{{name}}} names nothing", hint=hint)

    def _own(self, path: Path) -> frozenset[str]:
        names = self._scope.ports.get(str(path[1]), frozenset()) if path[:1] == ("services",) else frozenset()
        return frozenset(f"ports.{name}" for name in names)


def _too_late(name: str) -> BadPlaceholder:
    return BadPlaceholder(
        f"${{{name}}} is known only at spawn, and this must be known before",
        hint="Here only params, agent, repo, env and ${VARIABLE} can be used.",
    )
