"""Conversations of Claude Code: one file each, by id, in the folder of the directory it runs in.

Measured with 2.1.328: `--session-id` of a conversation that exists ends with "already in use", `--resume` of one that does not
with "No conversation found". The file appears with the first prompt, so only it can tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envmgr.model.handoff import Talk

_TAIL_BYTES = 1 << 20
_MOST = 12
_EDITS = frozenset({"Edit", "Write", "MultiEdit", "NotebookEdit"})


def exists(env: Mapping[str, str], conversation: str) -> bool:
    """Whether there is something to go on with. Blocking."""
    return bool(_files(env, conversation))


def tail(env: Mapping[str, str], conversation: str) -> Talk:
    """The end of a conversation: what was asked and said, its list of things to do, and the files it changed. Blocking.

    Lines of another form than expected are passed over: the file is Claude Code's own.
    """
    asked: list[str] = []
    said: list[str] = []
    files: list[str] = []
    todos: list[Mapping[str, Any]] = []
    for entry in _entries(env, conversation):
        content = entry["message"].get("content")
        if entry.get("type") == "user" and isinstance(content, str) and not entry.get("isMeta"):
            asked.append(content)
        for block in content if isinstance(content, list) else ():
            match block:
                case {"type": "text", "text": str(text)}:
                    (said if entry.get("type") == "assistant" else asked).append(text)
                case {"type": "tool_use", "name": "TodoWrite", "input": {"todos": list(listed)}}:
                    todos = [todo for todo in listed if isinstance(todo, dict)]
                case {"type": "tool_use", "name": str(name), "input": {"file_path": str(path)}} if (
                    name in _EDITS
                ):
                    files.append(path)
    return Talk(
        asked=tuple(asked[-_MOST:]),
        said=tuple(said[-_MOST:]),
        files=tuple(dict.fromkeys(reversed(files))),
        done=_todos(todos, "completed"),
        doing=_todos(todos, "in_progress"),
        planned=_todos(todos, "pending"),
    )


def _todos(todos: list[Mapping[str, Any]], status: str) -> tuple[str, ...]:
    return tuple(str(todo.get("content", "")) for todo in todos if todo.get("status") == status)


def _entries(env: Mapping[str, str], conversation: str) -> Iterator[Mapping[str, Any]]:
    """Messages of the main conversation, oldest first."""
    for file in _files(env, conversation)[:1]:
        with file.open("rb") as lines:
            lines.seek(max(0, file.stat().st_size - _TAIL_BYTES))
            for line in lines.read().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # cut at the beginning, or being written
                if (
                    isinstance(entry, dict)
                    and isinstance(entry.get("message"), dict)
                    and not entry.get("isSidechain")
                ):
                    yield entry


def _files(env: Mapping[str, str], conversation: str) -> list[Path]:
    home = Path(env.get("HOME") or Path.home())
    folder = Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    return list(folder.glob(f"projects/*/{conversation}.jsonl"))
