"""Warnings about a file's text as written, before anything is filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from envmgr.config.nodes import Items, Leaf, Node, Table, leaves
from envmgr.config.problems import Path, Problem, dotted
from envmgr.config.templates.styles import Style, style
from envmgr.config.variables import looks_secret

_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|k|z|a)?sh")
_SCRIPT_OPTION = re.compile(r"-[a-z]*c[a-z]*")
# Ports, hosts and the like are made by envmgr and hold nothing that a shell would read.
_ANYTHING = re.compile(r"\$\{(?:params\.|env\.|[A-Za-z_][A-Za-z0-9_]*[:}])[^}]*\}?")
_OF_ONE_AGENT = re.compile(r"\$\{(?:agent\.[a-z]+|workspace\.path)\}")
_KEY_MATERIAL = re.compile(
    r"\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[0-9A-Za-z-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def lint_source(tree: Table) -> Iterable[Problem]:
    """All of them."""
    for path, leaf in leaves(tree):
        if str(path[0]).startswith("x-"):
            continue
        how = style(path)
        if _KEY_MATERIAL.search(leaf.text):
            yield _secret(path, leaf, "looks like a key written into the file")
        elif path[-2:-1] in (("env",), ("exports",), ("args",)) and isinstance(path[-1], str):
            yield from _variable(path, leaf, is_text=how is Style.TEXT)
        elif how is Style.SHELL or (how is Style.TEXT and ("command" in path or "args" in path)):
            yield from _command(path, leaf)
    yield from _scripts(tree, ())


def lint_shared(tree: Table) -> Iterator[Problem]:
    """What is one for all agents cannot say what is different for each. `tree` has its parents, and nothing filled in."""
    services = tree.get("services")
    for name, service in services.items.items() if isinstance(services, Table) else ():
        scope = service.get("scope") if isinstance(service, Table) else None
        if not (isinstance(scope, Leaf) and scope.value == "shared"):
            continue
        for path, leaf in leaves(service, ("services", name)):
            found = _OF_ONE_AGENT.search(leaf.text)
            if found and path[2] not in ("tenant", "exports", "description"):
                message = (
                    f"{dotted(path)}: services.{name} is one for all agents, {found[0]} is different for each"
                )
                hint = "What is each agent's own belongs into 'tenant' and 'exports'."
                yield Problem(mark=leaf.mark, path=dotted(path), message=message, hint=hint)


def _warning(path: Path, leaf: Leaf, message: str, hint: str) -> Problem:
    return Problem(mark=leaf.mark, path=dotted(path), message=message, hint=hint, is_warning=True)


def _secret(path: Path, leaf: Leaf, what: str) -> Problem:
    hint = "Declare `secrets: {NAME: {from: env}}` and keep the value out of the repository."
    return _warning(path, leaf, f"{dotted(path)} {what}", hint.replace("NAME", _name(path)))


def _name(path: Path) -> str:
    return path[-1] if isinstance(path[-1], str) and path[-1].isupper() else "NAME"


def _command(path: Path, leaf: Leaf) -> Iterator[Problem]:
    if "${secrets." in leaf.text:
        message = f"{dotted(path)}: a command line can be seen by every user of the machine"
        yield _warning(path, leaf, message, "Secrets are variables already: let the command read $NAME.")
    if "${host}" in leaf.text and style(path) is Style.SHELL and path[0] == "services":
        message = f"{dotted(path)}: in a command line ${{host}} is a variable of the shell"
        yield _warning(
            path, leaf, message, f"Write ${{services.{path[1]}.host}} for the host of this service."
        )


def _variable(path: Path, leaf: Leaf, *, is_text: bool) -> Iterator[Problem]:
    words = leaf.text.replace("$$", "").split("$")[1:] if is_text else ()
    if bare := next((word for word in words if word[:1].isalpha() or word[:1] == "_"), ""):
        message = f"{dotted(path)}: '${bare[:20]}' is not expanded here"
        yield _warning(
            path, leaf, message, "Write ${NAME} for a variable of your environment, $$ for a dollar sign."
        )
    if looks_secret(str(path[-1])) and leaf.text and "$" not in leaf.text:
        yield _secret(path, leaf, "looks like a secret written into the file")


def _scripts(node: Node, at: Path) -> Iterator[Problem]:
    """`[sh, -c, "... ${params.x} ..."]`: words are put in as text, and this text is a program."""
    match node:
        case Table(items=table):
            for key, inner in table.items():
                if not key.startswith("x-"):
                    yield from _scripts(inner, (*at, key))
        case Items(items=items):
            words = [item for item in items if isinstance(item, Leaf)]
            if len(words) == len(items) and style((*at, 0)) is Style.TEXT and _is_script(words):
                script = words[2]
                if found := _ANYTHING.search(script.text):
                    message = f"{dotted((*at, 2))}: the value of {found[0]} would be read as code by {words[0].text}"
                    hint = f'Give it as an argument: [{words[0].text}, -c, \'... "$1" ...\', {words[0].text}, "{found[0]}"].'
                    yield _warning((*at, 2), script, message, hint)
            for index, item in enumerate(items):
                yield from _scripts(item, (*at, index))


def _is_script(words: list[Leaf]) -> bool:
    return (
        len(words) >= 3
        and _SHELLS.fullmatch(words[0].text) is not None
        and _SCRIPT_OPTION.fullmatch(words[1].text) is not None
    )
