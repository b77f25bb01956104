"""Procfiles: one process a line."""

from __future__ import annotations

import re
from pathlib import Path

from envmgr.config.importers.asking import wrong
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.naming import Names
from envmgr.config.importers.request import Request
from envmgr.config.nodes import Leaf, text_leaf
from envmgr.config.problems import Mark

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+)\s*:\s*(?P<command>.*?)\s*")
_OWN_PORT = re.compile(r"(?:(?:-p|--port|-b|--bind|--listen)[ =]|:)[\w.\[\]:]*?(?<!\d)(\d{4,5})\b")
_RELEASE = "release"


def read(request: Request) -> str:
    """Fill the template; a Procfile does not name its project."""
    path = request.files[0]
    lines = _lines(request, path)
    _refuse_unknown(request, lines)
    names = Names(list(lines), "process")
    where = _folder(request, path)
    for name, command in lines.items():
        if request.services and name not in request.services:
            continue
        _service(request, names, name, command, where, has_release=_RELEASE in lines)
    _dotenv(request, path)
    return ""


def _lines(request: Request, path: Path) -> dict[str, Leaf]:
    shown = request.places.show(path)
    found: dict[str, Leaf] = {}
    for number, line in enumerate(request.places.text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pair = _LINE.fullmatch(line)
        if pair is None or not pair["command"]:
            hint = "Lines are `name: command`; comments start with #."
            raise wrong(Mark(shown, number, 1), "not a `name: command` line", hint)
        mark = Mark(shown, number, pair.start("command") + 1)
        if pair["name"] in found:
            first = found[pair["name"]].mark.line
            raise wrong(Mark(shown, number, 1), f"{pair['name']!r} is given twice", f"First in line {first}.")
        found[pair["name"]] = text_leaf(mark, pair["command"])
    if not found:
        raise wrong(Mark(shown, 1, 1), "no `name: command` line in it")
    return found


def _refuse_unknown(request: Request, lines: dict[str, Leaf]) -> None:
    for name in request.services:
        if name not in lines:
            raise wrong(Mark(request.places.show(request.files[0]), 1, 1), f"there is no process {name!r}")


def _folder(request: Request, path: Path) -> str:
    inside = request.places.inside(path.parent, ".")
    return "." if inside is None else inside


def _service(
    request: Request, names: Names, name: str, command: Leaf, where: str, *, has_release: bool
) -> None:
    mark = command.mark
    out = request.out.below("services", mark).below(names[name], mark)
    request.report.about(name, names[name])
    if name == _RELEASE:
        out.put("kind", "task")
    out.put("command", command, mark)
    if where != ".":
        out.put("cwd", where)
    if has_release and name != _RELEASE:
        out.put("depends_on", [names[_RELEASE]])
    if name == "web" or re.search(r"\$\{?PORT\b", command.text):
        _web(request, out, name, names[name], command)


def _web(request: Request, out: Draft, name: str, slug: str, command: Leaf) -> None:
    """It gets a port, in `$PORT`; that it listens there is told by the command only."""
    out.put("ports", ["http"])
    own = _OWN_PORT.search(command.text)
    if own and "PORT" not in command.text:
        says = f"it listens on {own[1]}, as every other agent's would; write $PORT, then add `ready: {{tcp: http}}`"
        request.report.changed(command.mark, name, says)
    elif name == "web":
        out.put("ready", {"tcp": "http", "deadline": "2m"})
        request.report.changed(
            command.mark, name, "it is ready when it listens on $PORT, which is a leased port"
        )
    variable = f"{slug.upper().replace('-', '_')}_URL"
    out.put("exports", {variable: "http://127.0.0.1:${ports.http}"})


def _dotenv(request: Request, path: Path) -> None:
    """Values stay in their file: what looks like a secret is fetched at each start, the rest is read there."""
    file = path.parent / ".env"
    inside = request.places.inside(path.parent, ".env")
    if inside is None or not file.is_file():
        return
    mark = Mark(request.places.show(file), 1, 1)
    found = request.places.variables(file)
    request.out.put("env_file", [inside], mark)
    if "PORT" in found:
        request.report.changed(mark, "PORT", "each service with a port gets a leased one instead")
    if any("$" in value for value in found.values()):
        request.report.changed(mark, ".env", "variables in its values are not filled in")
