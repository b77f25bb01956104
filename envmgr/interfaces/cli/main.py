"""Build the commands from the manifest, run them, print data on stdout and talk on stderr."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from envmgr.errors import EnvmgrError
from envmgr.interfaces.cli import bridge, running, shorthands, task_file

# Any throughout: entries of the manifest are JSON.
_TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
_GROUPS = {
    "template": "Look at templates, check and explain them.",
    "snapshot": "Save an agent's files and volumes, and put them back.",
    "skills": "Teach assistants to coordinate.",
    "archive": "What is kept of sessions that have ended.",
    "daemon": "The daemon of this user.",
    "key": "Keys of programs that ask over HTTP or MCP.",
    "task": "Work that agents and people leave for each other.",
    "session": "Sessions of agents and programs; see also `discover`.",
    "memory": "What agents remember for each other.",
    "handoff": "What one session leaves to the next.",
    "lock": "Files and keys that agents hold, so that nobody else changes them.",
}
_EPILOGUE = 'Every command takes --json. Completion: eval "$(_ENVMGR_COMPLETE=bash_source envmgr)"'


def main(argv: list[str]) -> int:
    """Run one command line; returns the exit status (architecture: fixed codes)."""
    try:
        root().main(argv, prog_name="envmgr", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except EnvmgrError as error:
        return running.complain(error, as_json="--json" in argv)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def manifest() -> list[dict[str, Any]]:
    """The generated list of operations."""
    path = Path(__file__).with_name("manifest.json")
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries


def root(entries: list[dict[str, Any]] | None = None) -> click.Group:
    """The whole command tree."""
    top = click.Group(
        "envmgr",
        help="The operations platform for AI coding agents on shared code.",
        epilog=_EPILOGUE,
        params=[
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_version,
                help="Print the version.",
            )
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    groups = {name: click.Group(name, help=text) for name, text in _GROUPS.items()} | {
        "audit": shorthands.audit()
    }
    for entry in manifest() if entries is None else entries:
        for *group, name in filter(None, (entry["command"], entry["also"])):
            (groups[group[0]] if group else top).add_command(_command(entry, name))
    for group_ in groups.values():
        top.add_command(group_)
    top.add_command(_mcp())
    top.add_command(bridge.command())
    return top


def _version(context: click.Context, param: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's form
    if is_asked and not context.resilient_parsing:
        from importlib import metadata  # costs more than everything else here

        click.echo(f"envmgr {metadata.version('envmgr')}")
        context.exit()


def _mcp() -> click.Command:
    """No operation but a face of its own, and a program of its own, because its imports cost most of a second."""

    def call(tools: str) -> None:
        # -P: a folder of the repository that we are started in must not be taken for a package of ours.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "envmgr.interfaces.mcp", "--tools", tools])

    return click.Command(
        "mcp",
        callback=call,
        params=[
            click.Option(
                ["--tools"],
                type=click.Choice(["compact", "all"]),
                default="compact",
                show_default=True,
                envvar="ENVMGR_MCP_TOOLS",
                show_envvar=True,
                help="Which tools to show: those that agents coordinate with, or every operation",
            )
        ],
        help="Serve an assistant over the Model Context Protocol, on standard input and output.\n\n"
        "Who calls is known by ENVMGR_AGENT_KEY; without it, the calls are yours.",
        short_help="Serve an assistant over the Model Context Protocol.",
    )


def _command(entry: dict[str, Any], name: str) -> click.Command:
    params = [_param(entry, p) for p in entry["params"] if not p["supplied"]]
    params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON"))
    if entry["touch"] == "destroy":
        params.append(click.Option(["--yes", "-y"], is_flag=True, help="Do not ask"))

    def call(**given: Any) -> None:
        status = running.run(entry, given)
        if status:
            sys.exit(status)

    if entry["name"] == "task.submit":
        params = task_file.with_file(params)
    passes_on = entry["name"] == "agent.exec"
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False} if passes_on else {}
    return click.Command(
        name,
        callback=call,
        params=params,
        help=entry["doc"],
        short_help=entry["summary"],
        context_settings=settings,
    )


def _param(entry: dict[str, Any], p: dict[str, Any]) -> click.Parameter:
    if p["argument"]:
        return click.Argument(
            [p["name"]],
            nargs=-1 if p["multiple"] else 1,
            required=p["required"],
            default=None if p["multiple"] else p["default"],
            shell_complete=_COMPLETE.get(p["name"]),
        )
    flag = p["name"].rstrip("_").replace("_", "-")  # `from_`, because Python has that word
    if p["type"] == "boolean":
        both = (
            [f"--{flag}/--no-{flag}"]
            if p["default"]
            else [f"--{flag}", *([f"-{p['short'][-1]}"] if p["short"] else [])]
        )
        return click.Option([*both, p["name"]], is_flag=True, default=p["default"], help=p["help"])
    names = [f"--{flag}", *([p["short"]] if p["short"] else []), p["name"]]
    bounds = (p["least"], p["most"])
    kind = click.IntRange(*bounds) if p["type"] == "integer" and bounds != (None, None) else _TYPES[p["type"]]
    return click.Option(
        names, type=kind, multiple=p["multiple"], help=p["help"],
        default=None if p["multiple"] else p["default"], show_default=p["default"] not in (None, "", [], 0),
        shell_complete=_COMPLETE.get(p["name"]),
    )  # fmt: skip


def _agents(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of agents; nothing when no daemon runs."""
    return [name for name in running.agent_names() if name.startswith(incomplete)]


def _templates(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from envmgr.interfaces.cli.local import template_names  # imports pydantic and all: only when asked

    return [name for name in template_names() if name.startswith(incomplete)]


_COMPLETE = {"agent": _agents, "agents": _agents, "discard": _agents, "template": _templates}
