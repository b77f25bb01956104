"""The settings folder of one agent: the person's settings with ours on top, and links to all else that is in theirs.

Gemini CLI knows no file of settings for one session: system files must be root's, and those of a repository would be in the
worktree. So it gets a home of its own (`GEMINI_CLI_HOME`; the agent's HOME stays as it is). Measured with 0.61.0.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from envmgr.assistants.gemini_hooks import ASKED_FOR, HOOKS
from envmgr.assistants.launching import SERVER, hook_line, references, write_json
from envmgr.errors import ConfigError
from envmgr.protocols.assistant import Place

# The person's file: we know some of its keys, and keep whatever else is there.
Settings: TypeAlias = dict[str, Any]

VARIABLE = "GEMINI_CLI_HOME"

_FOLDER = ".gemini"
_SETTINGS = "settings.json"
_HANDOFF = "gemini-handoff.json"
_HOOK_TIMEOUT_MS = 5000
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_ID_CHARS = 8


def furnish(place: Place) -> Path:
    """Make the home, or bring it up to date; returns its folder.

    Raises:
        ConfigError: The person's settings cannot be understood.
    """
    theirs = Path(place.env.get(VARIABLE) or place.env.get("HOME") or Path.home()) / _FOLDER
    home = place.home / "gemini"
    ours = home / _FOLDER
    ours.mkdir(parents=True, exist_ok=True, mode=0o700)
    for entry in theirs.iterdir() if theirs.is_dir() else ():
        link = ours / entry.name
        if entry.name != _SETTINGS and not link.exists():
            link.unlink(missing_ok=True)  # one that leads nowhere
            link.symlink_to(entry.resolve())
    settings = _read(theirs / _SETTINGS)
    write_json(ours / _SETTINGS, _merged(settings, place))
    return home


def has_conversation(home: Path, conversation: str) -> bool:
    """Whether there is something to go on with. Blocking."""
    folder = home / _FOLDER / "tmp"
    found = folder.glob(f"*/chats/session-*-{conversation[:_ID_CHARS]}.json*")
    return any(conversation in _head(file) for file in found)


def _head(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as text:
        return text.read(4096)


def _read(file: Path) -> Settings:
    """With comments, which Gemini CLI allows."""
    if not file.exists():
        return {}
    try:
        text = _COMMENT.sub(lambda found: found.group(1) or "", file.read_text(encoding="utf-8"))
        settings = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Gemini CLI's {file.name} cannot be read: {error}", hint="Mend it.", details={"file": str(file)}
        ) from error
    if not isinstance(settings, dict):
        raise ConfigError(
            f"Gemini CLI's {file.name} is not an object", hint="Mend it.", details={"file": str(file)}
        )
    return settings


def _merged(settings: Settings, place: Place) -> Settings:
    merged = {**settings}
    if "GEMINI_API_KEY" in place.env and not _part(_part(merged, "security"), "auth").get("selectedType"):
        security = _part(merged, "security")
        merged["security"] = {
            **security,
            "auth": {**_part(security, "auth"), "selectedType": "gemini-api-key"},
        }
    merged["general"] = {"enableAutoUpdate": False, **_part(merged, "general")}
    hooks = _part(merged, "hooks")
    merged["hooks"] = {**hooks, **{hook: [*hooks.get(hook, []), *own] for hook, own in _hooks(place)}}
    if place.tools_command:
        server = {
            "command": place.tools_command[0],
            "args": place.tools_command[1:],
            "env": references(place, "${}"),
            "trust": True,
        }
        merged["mcpServers"] = {**_part(merged, "mcpServers"), SERVER: server}
    return merged


def _part(settings: Mapping[str, Any], name: str) -> Settings:
    part = settings.get(name)
    return part if isinstance(part, dict) else {}


def _hooks(place: Place) -> Iterator[tuple[str, list[object]]]:
    for hook in HOOKS:
        commands = [_command(hook_line(place.hook_command, hook))]
        # With the first prompt: what SessionStart adds is lost when a conversation is gone on with.
        if hook == "BeforeAgent" and place.handoff is not None and place.handoff.exists():
            told = {"hookEventName": hook, "additionalContext": place.handoff.read_text(encoding="utf-8")}
            file = write_json(place.home / _HANDOFF, {"hookSpecificOutput": told})
            new, old = shlex.quote(str(file)), shlex.quote(f"{file}.told")
            commands.append(_command(f"mv {new} {old} 2>/dev/null && cat {old} || true"))
        yield hook, [{"matcher": ASKED_FOR if hook == "PreCompress" else "*", "hooks": commands}]


def _command(line: str) -> object:
    return {"name": SERVER, "type": "command", "command": line, "timeout": _HOOK_TIMEOUT_MS}
