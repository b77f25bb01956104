"""Variables of devcontainer.json: `${localEnv:NAME}`, folders, and what stands for them in a template."""

from __future__ import annotations

import re

from envmgr.config.importers.request import Request
from envmgr.config.nodes import Leaf, Table
from envmgr.config.problems import Mark
from envmgr.config.variables import looks_secret
from envmgr.core.placeholders import Literal, Part, Reference, Variable, parse

_ANY = re.compile(r"\$\{(?P<name>[A-Za-z]+)(?::(?P<argument>[^}:]*)(?::(?P<default>[^}]*))?)?\}")


class DevVariables:
    """What `${...}` means in one file."""

    def __init__(self, request: Request, said: Table) -> None:
        self.workspace = ""
        self._request, self._said = request, said

    def parts(self, leaf: Leaf, key: str) -> list[Part]:
        """The pieces of a value."""
        found: list[Part] = []
        at = 0
        for match in _ANY.finditer(leaf.text):
            if match.start() > at:
                found.append(Literal(leaf.text[at : match.start()]))
            found += self._parts(match, leaf.mark, key)
            at = match.end()
        if at < len(leaf.text):
            found.append(Literal(leaf.text[at:]))
        return found

    def _parts(self, match: re.Match[str], mark: Mark, key: str) -> list[Part]:
        match match["name"]:
            case "localWorkspaceFolder":
                return [Reference("workspace.path")]
            case "localWorkspaceFolderBasename" | "containerWorkspaceFolderBasename":
                return [Reference("repo.name")]
            case "containerWorkspaceFolder":
                return parse(self.workspace)
            case "devcontainerId":
                return [Reference("agent.slug")]
            case "localEnv" | "env":
                return [self._local(match["argument"] or "", match["default"] or "", mark, key)]
        return [Literal(match[0])]

    def _local(self, name: str, default: str, mark: Mark, key: str) -> Part:
        report = self._request.report
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            report.unsupported(mark, key, f"{name!r} is no variable; left empty")
            return Literal("")
        if not looks_secret(name):
            return Variable(name, ":-", default)
        if default:
            param = self._request.declared.param(name, default, mark)
            report.changed(
                mark, key, f"{name} looks like a secret and is not read; it is the param {param!r}"
            )
            return Reference(f"params.{param}")
        report.changed(mark, key, f"{name} is a secret: it must be set where you spawn")
        return self._request.declared.secret(name, {"from": "env"}, mark)
