"""Programs that run whatever is typed into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

SHELLS = frozenset({"sh", "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "zsh"})


def is_shell(command: str | Sequence[str]) -> bool:
    """Whether a command is nothing but a shell that reads from its terminal: no script, no `-c`."""
    words = command.split() if isinstance(command, str) else list(command)
    if words and words[0] == "exec":
        words = words[1:]
    if not words:
        return True
    name, rest = PurePath(words[0].strip("\"'")).name, words[1:]
    is_named = name in SHELLS or words[0].strip("\"'").startswith("${SHELL")
    return is_named and all(word.startswith("-") and "c" not in word for word in rest)
