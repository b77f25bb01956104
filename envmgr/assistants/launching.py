"""What the adapters of real CLIs share: the executable's words, private files, hook lines, and envmgr's MCP server."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import IDENTITY, Place

SERVER = "envmgr"
"""Name of our MCP server in every CLI."""


def words(spec: AssistantSpec, program: str) -> Sequence[str]:
    """How the CLI is called: `program`, or what the template says instead."""
    command = spec.command or (program,)
    return (command,) if isinstance(command, str) else command


def has_flag(args: Sequence[str], *flags: str) -> bool:
    """Whether the template's own arguments hold one of these."""
    return any(word.split("=")[0] in flags for word in args)


def hook_line(command: Sequence[str], hook: str) -> str:
    """Shell line that reports a hook. Never a failure, and no word but what the daemon says: both mean something to the CLI."""
    return f"{shlex.join([*command, hook])} 2>/dev/null || true"


def references(place: Place, form: str) -> dict[str, str]:
    """Variables of the MCP server as the CLI refers to its own ones, so that no key stands in a file."""
    return {name: form.format(name) for name in IDENTITY if name in place.env}


def write_json(file: Path, content: Mapping[str, object]) -> Path:
    """Write a file of the agent's own, whole or not at all."""
    return write_private(file, json.dumps(content, indent=2))


def write_private(file: Path, text: str) -> Path:
    """As `write_json`, any text."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_name(f"{file.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o600)
    return new.replace(file)


def text_of(payload: Mapping[str, object], key: str) -> str:
    """A text of a hook's payload; empty when there is none."""
    value = payload.get(key)
    return value if isinstance(value, str) else ""
