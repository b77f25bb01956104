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
        is_answer, content = entry.get("type") == "assistant", entry["message"]["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match block:
                case {"type": "text", "text": str(text)} if is_answer:
                    said.append(text)
                case {"type": "text", "text": str(text)} if _is_prompt(entry, text):
                    asked.append(text)
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


def _is_prompt(entry: Mapping[str, Any], text: str) -> bool:
    """Whether somebody said it; the CLI puts notes of its own, and what its commands do, between."""
    return entry.get("type") == "user" and not entry.get("isMeta") and not text.lstrip().startswith("<")


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
                if _is_message(entry):
                    yield entry


def _is_message(entry: object) -> bool:
    """Of the main conversation, in the form we know."""
    if not isinstance(entry, dict) or entry.get("isSidechain"):
        return False
    message = entry.get("message")
    return isinstance(message, dict) and isinstance(message.get("content"), (str, list))


def _files(env: Mapping[str, str], conversation: str) -> list[Path]:
    home = Path(env.get("HOME") or Path.home())
    folder = Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    return list(folder.glob(f"projects/*/{conversation}.jsonl"))
