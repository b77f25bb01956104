"""opencode's configuration for one agent: `OPENCODE_CONFIG_CONTENT`, which it lays on top of all others, and a plugin of ours.

What a person has put into that variable themselves stays, below ours. Measured with 1.18.33.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envmgr.assistants.launching import SERVER, references, write_private
from envmgr.errors import ConfigError
from envmgr.protocols.assistant import Place

VARIABLE = "OPENCODE_CONFIG_CONTENT"
MODES = ("ask", "allow")
"""What becomes of edits and commands; without a word it is what the person has configured."""

_PLUGIN = "opencode-plugin.js"
_SOURCE = Path(__file__).with_name("opencode_plugin.js")
_COMMAND = '["true"]'


def write_plugin(place: Place) -> Path:
    """The plugin with the command by which it reports."""
    source = _SOURCE.read_text(encoding="utf-8")
    return write_private(
        place.home / _PLUGIN, source.replace(_COMMAND, json.dumps(list(place.hook_command)), 1)
    )


def content(place: Place, plugin: Path, *, mode: str | None) -> str:
    """The variable's value.

    Raises:
        ConfigError: What the person has put there is not JSON.
    """
    config = _given(place.env)
    config.setdefault("autoupdate", False)
    config["plugin"] = [*config.get("plugin", []), plugin.as_uri()]
    if place.tools_command:
        config["mcp"] = {**config.get("mcp", {}), SERVER: _server(place)}
    if mode is not None:
        config["permission"] = {"edit": mode, "bash": mode}
    if place.handoff is not None:
        config["instructions"] = [*config.get("instructions", []), str(place.handoff)]
    return json.dumps(config)


def _server(place: Place) -> Mapping[str, object]:
    return {
        "type": "local",
        "command": list(place.tools_command),
        "environment": references(place, "{{env:{}}}"),
        "enabled": True,
    }


def _given(env: Mapping[str, str]) -> dict[str, Any]:
    try:
        config = json.loads(env.get(VARIABLE) or "{}")
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise ConfigError(f"{VARIABLE} is not a JSON object", hint="Mend it in the template's `env`.")
    return config
