"""`envmgr task add --file`: tasks of a file, submitted together."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from envmgr.errors import UsageError

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
_MOST_BYTES = 8 * 1024**2
_INDEX = re.compile(r"tasks\.(\d+)\.?")
_FIELDS = "A task takes what `envmgr task add --help` lists, such as task_type for --task-type, and a `key` of its own."
_FORMS = "Write a list of tasks as YAML or JSON, or one JSON object per line."


def with_file(params: Sequence[click.Parameter]) -> list[click.Parameter]:
    """The parameters of `task add`, which needs no description when it is given a file."""
    what = click.Argument(["description"], required=False)
    told = "Add the tasks of a YAML or JSON lines file together, all or none; they depend on each other by `key`; - is stdin"
    return [what, click.Option(["--file", "-f"], help=told), *(p for p in params if p.name != "description")]


def batch(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
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
        return entry, rest
    defaults = {p["name"]: p["default"] for p in entry["params"]}
    if odd := [name for name, value in rest.items() if name not in _BESIDE and value != defaults.get(name)]:
        raise UsageError(f"--file goes without {', '.join(odd)}", hint="Say it in the file, for each task.")
    return _BATCH, {"tasks": _tasks(file), **{name: rest[name] for name in _BESIDE if rest.get(name)}}


def placed(error: UsageError, asked: Mapping[str, Any]) -> UsageError:
    """The same with the task it is about as people count and call it, instead of its index."""
    found = _INDEX.match(error.message)
    if found is None:
        return error
    number = int(found[1])
    task = asked["tasks"][number]
    called = str(task.get("key") or task.get("description") or "")[:40] if isinstance(task, dict) else ""
    words = f"task {number + 1}{called and f' ({called})'}: {error.message[found.end() :].lstrip()}"
    return UsageError(words, hint=_FIELDS)


def _tasks(file: str) -> list[Any]:
    shown = "stdin" if file == "-" else file
    text = _text(file, shown)
    found = _parsed(text, file, shown)
    tasks = found.get("tasks") if isinstance(found, dict) and set(found) == {"tasks"} else found
    if not isinstance(tasks, list) or not tasks:
        raise UsageError(f"{shown} is no list of tasks", hint=_FORMS)
    return tasks


def _text(file: str, shown: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read(_MOST_BYTES)
        path = Path(file)
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{shown} is larger than 8 MiB", hint="Split it.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not UTF-8 text", hint=_FORMS) from error
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}", hint=_FORMS) from error


def _parsed(text: str, file: str, shown: str) -> Any:
    if file.endswith((".jsonl", ".ndjson")) or text.lstrip().startswith("{"):
        return [
            _line(line, number, shown) for number, line in enumerate(text.splitlines(), 1) if line.strip()
        ]
    # Deferred: the YAML parser costs 20 ms to import.
    from envmgr.config.nodes import plain
    from envmgr.config.yaml_source import read_yaml

    return plain(read_yaml(text, shown))


def _line(line: str, number: int, shown: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{shown}:{number}: not JSON", hint=_FORMS) from error
