"""Conversations of Claude Code: one file each, by id, in the folder of the directory it runs in.

Measured with 2.1.328: `--session-id` of a conversation that exists ends with "already in use", `--resume` of one that does not
with "No conversation found". The file appears with the first prompt, so only it can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def exists(env: Mapping[str, str], conversation: str) -> bool:
    """Whether there is something to go on with. Blocking."""
    home = Path(env.get("HOME") or Path.home())
    folder = Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    return any(folder.glob(f"projects/*/{conversation}.jsonl"))
