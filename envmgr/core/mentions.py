"""Whether a tool call of an assistant is about a place outside of its worktree, as its hook tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

WRITES = frozenset(
    {"Write", "Edit", "MultiEdit", "NotebookEdit", "write_file", "replace", "apply_patch", "write", "edit"}
)
"""Names that assistants have for tools that write files."""

SHELLS = frozenset({"Bash", "run_shell_command", "shell", "exec_command", "bash"})
"""Of tools that run commands."""

_PATHS = ("file_path", "notebook_path", "absolute_path", "filePath", "path")
# Long values come as text that is cut somewhere, so it may be no whole JSON.
_QUOTED = re.compile(rf'"(?:{"|".join(_PATHS)})"\s*:\s*("(?:[^"\\]|\\.)*")')


def written_path(payload: Mapping[str, object], folder: str) -> str:
    """The file below the folder that a tool is to write, relative to it; empty when it is none."""
    if _tool(payload) not in WRITES:
        return ""
    given = payload.get("tool_input")
    path = _path(given)
    if not path.startswith("/") or ".." in PurePosixPath(path).parts:
        return ""
    return _below(path, folder)


def names_folder(payload: Mapping[str, object], folder: str, *, but: str) -> bool:
    """Whether a command names the folder or something in it, and not only what is in `but`."""
    if _tool(payload) not in SHELLS:
        return False
    given = payload.get("tool_input")
    words = given.get("command") if isinstance(given, dict) else given
    text = " ".join(map(str, words)) if isinstance(words, list) else str(words or "")
    rest = text.replace(but, "") if but else text
    return re.search(rf"{re.escape(folder)}(?![\w.-])", rest) is not None


def _tool(payload: Mapping[str, object]) -> str:
    name = payload.get("tool_name")
    return name if isinstance(name, str) else ""


def _path(given: object) -> str:
    if isinstance(given, dict):
        return next((value for key in _PATHS if isinstance(value := given.get(key), str)), "")
    if isinstance(given, str) and (found := _QUOTED.search(given)):
        try:
            return str(json.loads(found[1]))
        except ValueError:
            return ""
    return ""


def _below(path: str, folder: str) -> str:
    one, top = PurePosixPath(path), PurePosixPath(folder)
    return str(one.relative_to(top)) if one != top and one.is_relative_to(top) else ""
