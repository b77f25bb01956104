"""A file of tasks: what is in it, and where it stands, so that whatever is wrong is told with its line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envmgr.errors import EnvmgrError, Invalid, UsageError

if TYPE_CHECKING:
    from envmgr.config.nodes import Node
    from envmgr.config.problems import Mark

# Any throughout: JSON.
_MOST_BYTES = 8 * 1024**2
_INDEX = re.compile(r"^tasks\.\d+\.? ?")
_FIELDS = "A task takes what `envmgr task add --help` lists, such as task_type for --task-type, and a `key` of its own."
_FORMS = "Write a list of tasks as YAML or JSON, or one JSON object per line."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tasks of a file.

    Attributes:
        shown: What people call the file.
        lines: Where each task begins, if each is a line of JSON.
        node: The list of tasks otherwise, with the place of each value.
    """

    shown: str
    tasks: Sequence[Any]
    lines: Sequence[int] = ()
    node: Node | None = None

    def placed(self, error: EnvmgrError) -> EnvmgrError:
        """The same with the line it is about, and the task as people count and call it, instead of its index."""
        at = error.details.get("at") or (self._unsayable() if isinstance(error, Invalid) else ())
        if not isinstance(at, list | tuple) or len(at) < 2 or at[0] != "tasks":
            return error
        mark, number = self._mark(at), int(at[1])
        words = f"{mark}: {self._called(number)}: {_INDEX.sub('', error.message)}"
        others = error.details.get("see")
        see = [str(self._mark(one)) for one in others] if isinstance(others, list) else []
        hint = _FIELDS if _INDEX.match(error.message) else error.hint
        place = {"file": mark.file, "line": mark.line, "column": mark.column}
        return type(error)(
            words,
            hint=f"{hint} See also {', '.join(see)}." if see else hint,
            details={**error.details, **place},
        )

    def _mark(self, at: Sequence[str | int]) -> Mark:
        from envmgr.config.nodes import mark_of
        from envmgr.config.problems import Mark

        number, *field = at[1:]
        if self.node is None:
            return Mark(self.shown, self.lines[int(number)], 1)
        return mark_of(self.node, (int(number), *field))

    def _called(self, number: int) -> str:
        task = self.tasks[number]
        called = str(task.get("key") or task.get("description") or "")[:40] if isinstance(task, dict) else ""
        return f"task {number + 1}{called and f' ({called})'}"

    def _unsayable(self) -> Sequence[str | int]:
        """What can be no part of any request is refused before anybody looks at where it stands."""
        from envmgr.app.sayable import refuse_unsayable

        for number, task in enumerate(self.tasks):
            try:
                refuse_unsayable({"task": task})
            except Invalid:
                return ("tasks", number)
        return ()


def read(file: str) -> Plan:
    """The plan in a file; `-` is stdin.

    Raises:
        UsageError: It cannot be read, or is no list of tasks.
        ConfigError: It is YAML that cannot be read.
    """
    shown = "stdin" if file == "-" else file
    text = _text(file, shown)
    plan = _of_lines(text, shown) if _is_lines(text, file) else _of_document(text, shown)
    if not plan.tasks:
        raise UsageError(f"{shown} is no list of tasks: it is empty", hint=_FORMS)
    return plan


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


def _is_lines(text: str, file: str) -> bool:
    """Whether each line is a task: the name says so, or the first line that is not empty is one."""
    if file.endswith((".jsonl", ".ndjson")):
        return True
    first = text.lstrip().partition("\n")[0]
    try:
        found = json.loads(first) if first.startswith("{") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "tasks" not in found


def _of_lines(text: str, shown: str) -> Plan:
    found = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return Plan(
        shown=shown,
        tasks=[_line(line, number, shown) for number, line in found],
        lines=[number for number, _ in found],
    )


def _line(line: str, number: int, shown: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, _Twice) else "not JSON"
        raise UsageError(f"{shown}:{number}:1: {said}", hint=_FORMS) from error


class _Twice(ValueError):
    """A key stands twice in an object, and JSON does not say which one counts."""


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(f"key {key!r} is given twice")
        found[key] = value
    return found


def _of_document(text: str, shown: str) -> Plan:
    # Deferred: the YAML parser costs 20 ms to import.
    from envmgr.config.nodes import Items, Table, plain
    from envmgr.config.yaml_source import read_yaml

    node = read_yaml(text, shown)
    if isinstance(node, Table) and "tasks" in node.items:
        if odd := [key for key in node.items if key != "tasks"]:
            words = f"{node.keys[odd[0]]}: {odd[0]} is unknown beside `tasks`"
            raise UsageError(words, hint="Each task says all that it needs by itself.")
        node = node.items["tasks"]
    if not isinstance(node, Items):
        raise UsageError(f"{node.mark}: this is no list of tasks", hint=_FORMS)
    tasks = plain(node)
    assert isinstance(tasks, list)
    return Plan(shown=shown, tasks=tasks, node=node)
