"""Write what is generated from the registry: manifest, help, OpenAPI, reference pages. `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from envmgr.app.faces import FROM_MCP
from envmgr.app.manifest import manifest, served
from envmgr.app.openapi import openapi
from envmgr.app.sdk.python import python
from envmgr.app.sdk.schema import library
from envmgr.app.sdk.typescript import typescript
from envmgr.app.tools import tools
from envmgr.interfaces.cli.main import root

_HERE = Path(__file__).parent
_TOP = _HERE.parents[2]


def documents() -> dict[Path, str]:
    """Every generated file and its text."""
    entries = manifest()
    calls = library()
    return {
        _HERE / "manifest.json": json.dumps(entries, indent=1, ensure_ascii=False) + "\n",
        _HERE.parent / "mcp/tools.json": json.dumps(tools(), indent=1, ensure_ascii=False) + "\n",
        _HERE / "help.txt": _help(root(entries)),
        _TOP / "docs/reference/cli.md": _cli_page(root(entries)),
        _TOP / "docs/reference/http.md": _http_page(),
        _TOP / "docs/reference/mcp.md": _mcp_page(),
        _TOP / "docs/reference/openapi.json": json.dumps(openapi("1"), indent=1) + "\n",
        _TOP / "envmgr/clients/operations.py": python(calls),
        _TOP / "envmgr/clients/envmgr.ts": typescript(calls),
    }


def _help(command: click.Command, name: str = "envmgr") -> str:
    context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
    return command.get_help(context) + "\n"


def _cli_page(top: click.Group) -> str:
    parts = [
        "# Command line\n\nGenerated from the operations registry; run `python -m envmgr.interfaces.cli.generate`.\n"
    ]
    parts += [_EXITS, f"```text\n{_help(top)}```\n"]
    for name, command in sorted(_commands(top, "envmgr")):
        parts.append(f"## {name}\n\n```text\n{_help(command, name)}```\n")
    return "\n".join(parts)


_EXITS = """Data goes to stdout, talk to stderr. `--json` prints exactly the operation's result, one object per line
for streams. Exit status: 0 done, 1 internal or a finding of `doctor`, 2 usage, 3 template or setting, or leftovers found by `audit-resources`, 4 not found, 5 conflict,
6 denied, 7 something needed is unavailable, 8 rolled back or stop failed, 130 interrupted. `NO_COLOR` is respected. Agents may be
named by a unique beginning of their name or id, except for what is destroyed (`rm`, `snapshot restore`).

Completion: `eval "$(_ENVMGR_COMPLETE=bash_source envmgr)"` (also `zsh_source`, `fish_source`).
"""


def _commands(group: click.Group, prefix: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _commands(command, f"{prefix} {name}")
        else:
            found.append((f"{prefix} {name}", command))
    return found


def _http_page() -> str:
    rows = [
        f"| `{op.name}` | `{op.route[0]} {op.route[1]}` | {op.touch.value} | {'yes' if op.stream else ''} | {op.summary} |"
        for op in served()
    ]
    return (
        _HTTP
        + "\n".join(
            [
                "| operation | route | touch | stream | what it does |",
                "| --- | --- | --- | --- | --- |",
                *rows,
            ]
        )
        + "\n"
    )


_HTTP = """# HTTP

Generated from the operations registry. The daemon speaks HTTP/1.1 on `daemon.sock` in its state folder, and on TCP where `http.listen`
says so; [how to use it](../how-to/http-api.md) tells of keys, clients and statuses. The whole description is `openapi.json` beside this page.

`Accept` chooses the form: `application/json` (streams: one object per line), `text/plain` (what people see),
`text/event-stream` (streams; `GET /api/v1/events` numbers its events and resumes after `Last-Event-ID`). A failure is a problem
document: `code`, `message`, `hint`, `retryable`, `details`, `request`.

"""


def _mcp_page() -> str:
    rows = [
        f"| `{tool['name']}` | `{tool['operation']}` | {'yes' if tool['compact'] else ''} | {tool['touch']} | {_first(tool)} |"
        for tool in sorted(tools(), key=lambda tool: (not tool["compact"], tool["name"]))
    ]
    withheld = [f"- `{name}`: {reason}" for name, reason in sorted(FROM_MCP.items())]
    return _MCP.format(rows="\n".join(rows), withheld="\n".join(withheld))


def _first(tool: dict[str, Any]) -> str:
    return str(tool["description"]).splitlines()[0]


_MCP = """# MCP tools

Generated from the operations registry. `envmgr mcp` and `/mcp` show those marked as compact, and with `--tools all` (`/mcp?tools=all`)
every one. Arguments and results are those of the operation, see `openapi.json` beside this page; [the guide](../how-to/mcp.md) tells
how they are called, and which resources and prompts there are.

| tool | operation | compact | touch | what it does |
| --- | --- | --- | --- | --- |
{rows}

Operations that MCP does not offer:

{withheld}
"""


def main(argv: list[str]) -> int:
    """0 when all files are fresh (after writing, always)."""
    stale: list[Any] = []
    for path, text in documents().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if "--check" not in argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'stale' if '--check' in argv else 'wrote'}: {path.relative_to(_TOP)}")
    if stale and "--check" in argv:
        print("run: python -m envmgr.interfaces.cli.generate")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
