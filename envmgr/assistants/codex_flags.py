"""Codex's configuration as `-c key=value` arguments: they hold for one session and add to what the person has configured.

Hooks need trust. Codex keeps it as a hash of each hook, and believes it from arguments as it does from its file: so exactly the
hooks that are here are trusted, for this session, and those of the repository are still asked about. How the hash is made is
Codex's own affair (`hooks/src/engine/discovery.rs`; measured with 0.169.0): should that change, Codex asks on its screen
whether to trust them, and runs none unasked.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence

from envmgr.assistants.codex_hooks import HOOKS
from envmgr.assistants.launching import SERVER, hook_line
from envmgr.protocols.assistant import IDENTITY, Place

_HOOK_TIMEOUT_S = 3  # the most that Codex allows some of them; a clamped one would have another hash
_START_S = 30
_SOURCE = "/<session-flags>/config.toml"


def flags(place: Place) -> list[str]:
    """All of them."""
    return [word for key, value in _settings(place).items() for word in ("-c", f"{key}={_toml(value)}")]


def _settings(place: Place) -> dict[str, object]:
    hooks = {hook: [_command(hook_line(place.hook_command, hook))] for hook in HOOKS}
    if place.handoff is not None:
        # What this hook prints goes to the model, without a turn of its own.
        told = f"cat {shlex.quote(str(place.handoff))} 2>/dev/null || true"
        hooks["SessionStart"].append(_command(told))
    settings: dict[str, object] = {
        "projects": {str(place.worktree): {"trust_level": "trusted"}},
        "check_for_update_on_startup": False,
        "tui.screen_reader_detection_done": True,
        # A daemon of Codex's own would outlive the agent, and copies 400 MB into CODEX_HOME.
        "features.daemon_auto_start": False,
        # It would write all variables, the agent's key among them, into a file of CODEX_HOME.
        "features.shell_snapshot": False,
        "hooks.state": dict(pair for hook, handlers in hooks.items() for pair in _trust(hook, handlers)),
    }
    settings |= {f"hooks.{hook}": [{"hooks": handlers}] for hook, handlers in hooks.items()}
    if place.tools_command:
        settings[f"mcp_servers.{SERVER}"] = _server(place)
    return settings


def _server(place: Place) -> dict[str, object]:
    return {
        "command": place.tools_command[0],
        "args": place.tools_command[1:],
        "env_vars": [name for name in IDENTITY if name in place.env],
        "default_tools_approval_mode": "approve",
        # Else the first prompt does not wait for it, and its turn goes on without these tools.
        "required": True,
        "startup_timeout_sec": _START_S,
    }


def _command(line: str) -> dict[str, object]:
    return {"type": "command", "command": line, "timeout": _HOOK_TIMEOUT_S}


def _trust(hook: str, handlers: Sequence[Mapping[str, object]]) -> list[tuple[str, object]]:
    label = HOOKS[hook]
    return [
        (f"{_SOURCE}:{label}:0:{number}", {"trusted_hash": _hash(label, handler)})
        for number, handler in enumerate(handlers)
    ]


def _hash(label: str, handler: Mapping[str, object]) -> str:
    identity = {"event_name": label, "hooks": [{**handler, "async": False}]}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _toml(value: object) -> str:
    """As a TOML value; its basic strings are JSON's."""
    match value:
        case Mapping():
            return (
                "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(one)}" for key, one in value.items()) + "}"
            )
        case list() | tuple():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
