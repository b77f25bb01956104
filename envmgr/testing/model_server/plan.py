"""Decide what to answer from the conversation alone, so that retries, resumes and side requests need no memory.

The newest user text with `SCN=<name>` picks the scenario; the tool results after it count the steps already played.
A request without a marker gets a short plain answer, and so does a tool step in a request that offers no tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from envmgr.testing.model_server.scenarios import (
    SCENARIOS,
    Cut,
    Drip,
    Edit,
    Found,
    Hold,
    Refuse,
    Say,
    Shell,
    Step,
    Use,
    Write,
)

Schema: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A request, whatever its dialect.

    Attributes:
        texts: User texts, oldest first.
        results: Texts of the tool results after the newest text with a marker.
        tools: JSON schema of the arguments by tool name.
        cwd: Working directory as the CLI told the model; `.` if it did not.
    """

    texts: Sequence[str]
    results: Sequence[str]
    tools: Mapping[str, Schema]
    cwd: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool gave."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call a tool of the CLI."""

    tool: str
    arguments: Mapping[str, object]


Action = Say | Call | Drip | Hold | Refuse | Cut

_TOOLS = {  # names in use, best first
    "write": ("Write", "write_file", "write", "create_file"),
    "edit": ("Edit", "replace", "edit"),
    "shell": ("Bash", "run_shell_command", "bash", "exec_command", "shell_command", "shell", "local_shell"),
}
_SPELLINGS = {
    "path": ("file_path", "filePath", "path", "absolute_path"),
    "text": ("content", "text", "contents"),
    "old": ("old_string", "oldString"),
    "new": ("new_string", "newString"),
    "command": ("command", "cmd"),
    "why": ("description",),
}
_EMPTY: Mapping[str, object] = {
    "string": "x",
    "boolean": False,
    "integer": 1,
    "number": 1,
    "array": [],
    "object": {},
}
_MARKER = re.compile(r"SCN=([a-z0-9_]+)")
_CWD = re.compile(
    r"(?:working directory(?: is)?|cwd|<cwd>|current directory|working in the directory)"
    r"[:\s>*`]{1,5}(/[^\s<`'\"),]+)",
    re.IGNORECASE,
)


def converse(items: Iterable[str | Result], *, tools: Mapping[str, Schema], system: str = "") -> Conversation:
    """Collect a conversation from user texts and tool results, oldest first."""
    texts: list[str] = []
    results: list[str] = []
    for item in items:
        if isinstance(item, Result):
            results.append(item.text)
            continue
        texts.append(item)
        results = [] if _MARKER.search(item) else results
    found = _CWD.search("\n".join([system, *texts]))
    cwd = found.group(1).rstrip("/.") if found else "."
    return Conversation(texts=texts, results=results, tools=tools, cwd=cwd)


def plan(conversation: Conversation) -> Action:
    """Choose the next action."""
    name = next(
        (found[-1] for text in reversed(conversation.texts) if (found := _MARKER.findall(text))), None
    )
    if name is None:
        return Say("ok")
    steps = SCENARIOS.get(name, (Say(f"unknown scenario {name}"),))
    return _with_tools(steps[min(len(conversation.results), len(steps) - 1)], conversation)


def _with_tools(step: Step, conversation: Conversation) -> Action:
    match step:
        case Say() | Drip() | Hold() | Refuse() | Cut():
            return step
        case _ if not conversation.tools:
            return Say("ok")
        case Use(suffix, arguments):
            names = [name for name in conversation.tools if name.endswith(suffix)]
            known = {key: _known(value, conversation.results) for key, value in arguments.items()}
            return Call(names[0], known) if names else _without(suffix, conversation)
        case Shell(command, extra):
            return _call(conversation, "shell", {"command": command, "why": "scripted step"}, extra=extra)
        case Write(path, text):
            return _file(conversation, "write", step, {"path": f"{conversation.cwd}/{path}", "text": text})
        case Edit(path, old, new):
            wanted = {"path": f"{conversation.cwd}/{path}", "old": old, "new": new}
            return _file(conversation, "edit", step, wanted)


def _known(value: object, results: Sequence[str]) -> object:
    """The value, or what a tool has said it is; JSON may stand in a text that is JSON again."""
    if not isinstance(value, Found):
        return value
    field = re.compile(rf'{value.name}\\*"\s*:\s*(?:(\d+)|\\*"([^"\\]*))')
    found = next((match for text in reversed(results) if (match := field.search(text))), None)
    if found is None:
        return f"nobody said {value.name}"
    return int(found.group(1)) if found.group(1) else found.group(2)


def _file(conversation: Conversation, kind: str, step: Write | Edit, wanted: Mapping[str, str]) -> Action:
    if any(name in conversation.tools for name in _TOOLS[kind]):
        return _call(conversation, kind, wanted)
    # Codex has no file tool: it writes through the shell.
    match step:
        case Write(path, text):
            command = f"cat > {path} <<'EOF'\n{text}EOF"
        case Edit(path, old, new):
            command = f"sed -i 's/{old}/{new}/' {path}"
    return _call(conversation, "shell", {"command": command, "why": "scripted step"})


def _call(
    conversation: Conversation,
    kind: str,
    wanted: Mapping[str, str],
    *,
    extra: Mapping[str, object] | None = None,
) -> Action:
    name = next((name for name in _TOOLS[kind] if name in conversation.tools), None)
    if name is None:
        return _without(kind, conversation)
    schema = conversation.tools[name]
    known = {key: value for key, value in (extra or {}).items() if key in _properties(schema)}
    return Call(name, {**dict(_fitted(schema, wanted)), **known})


def _without(wanted: str, conversation: Conversation) -> Say:
    return Say(f"no tool for {wanted}; have {sorted(conversation.tools)[:40]}")


def _properties(schema: Schema) -> Mapping[str, Schema]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _fitted(schema: Schema, wanted: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    """Name the arguments as the tool's schema does, and fill in what else it requires."""
    properties, given = _properties(schema), set()
    for meaning, value in wanted.items():
        name = next((spelling for spelling in _SPELLINGS[meaning] if spelling in properties), None)
        if name is not None:
            given.add(name)
            yield name, ["bash", "-lc", value] if properties[name].get("type") == "array" else value
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if name not in given:
            yield name, _EMPTY.get(str(properties.get(name, {}).get("type")), "x")


def smallest(schema: Schema) -> object:
    """Build the smallest value that fits a JSON schema, for side requests that demand JSON."""
    kinds = schema.get("type") or "string"
    kind = str(kinds[0] if isinstance(kinds, list) else kinds).lower()
    choices = schema.get("enum")
    if isinstance(choices, list):
        return choices[0]
    if kind == "object":
        return {name: smallest(part) for name, part in _properties(schema).items()}
    return {**_EMPTY, "string": "ok", "null": None}.get(kind, "ok")
