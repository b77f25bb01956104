"""`envmgr task add --file`: tasks of a file, submitted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from envmgr.errors import UsageError

if TYPE_CHECKING:
    from envmgr.interfaces.cli.plan import Plan

# Any throughout: entries of the manifest, and JSON.
_BATCH = {
    "name": "task.batch",
    "method": "POST",
    "path": "/api/v1/tasks/batch",
    "params": [],
    "stream": False,
    "local": False,
}
_BESIDE = ("idempotency_key", "repo")


def with_file(params: Sequence[click.Parameter]) -> list[click.Parameter]:
    """The parameters of `task add`, which needs no description when it is given a file."""
    what = click.Argument(["description"], required=False)
    told = "Add the tasks of a YAML or JSON lines file together, all or none; they depend on each other by `key`; - is stdin"
    return [what, click.Option(["--file", "-f"], help=told), *(p for p in params if p.name != "description")]


def batch(
    entry: Mapping[str, Any], asked: Mapping[str, Any]
) -> tuple[Mapping[str, Any], dict[str, Any], Plan | None]:
    """What is asked of the daemon: one task, or those of the file.

    Raises:
        UsageError: Neither or both were given, or the file is no list of tasks.
        ConfigError: It is YAML that cannot be read.
    """
    rest = dict(asked)
    file = rest.pop("file", None)
    if file is None:
        if not rest["description"]:
            raise UsageError("what is to be done?", hint="Describe it, or give --file.")
        return entry, rest, None
    defaults = {p["name"]: p["default"] for p in entry["params"]}
    if odd := [name for name, value in rest.items() if name not in _BESIDE and value != defaults.get(name)]:
        raise UsageError(f"--file goes without {', '.join(odd)}", hint="Say it in the file, for each task.")
    from envmgr.interfaces.cli.plan import read  # every command would pay for it

    found = read(file)
    beside = {name: rest[name] for name in _BESIDE if rest.get(name)}
    return _BATCH, {"tasks": found.tasks, **beside}, found
