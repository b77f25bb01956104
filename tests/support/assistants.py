"""The real CLIs' adapters, and a place in which nothing is started."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from envmgr.assistants.claude_code import ClaudeCodeAssistant
from envmgr.assistants.codex import CodexAssistant
from envmgr.assistants.gemini import GeminiAssistant
from envmgr.assistants.opencode import OpencodeAssistant
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Assistant, Place, Start

KEY = "emk_secret"
TOOLS = ("python", "-m", "tools")
CONVERSATION = "11111111-2222-4333-8444-555555555555"
ASSISTANTS: Sequence[Assistant] = (
    ClaudeCodeAssistant(),
    CodexAssistant(),
    GeminiAssistant(),
    OpencodeAssistant(),
)
PROGRAMS = {"claude_code": "claude", "codex": "codex", "gemini": "gemini", "opencode": "opencode"}


def place(folder: Path, **more: Any) -> Place:
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for program in PROGRAMS.values():
        if not (programs / program).exists():
            (programs / program).symlink_to(sys.executable)
    (folder / "home").mkdir(exist_ok=True)
    given = {"HOME": str(folder / "home"), "PATH": str(programs)}
    identity = {"ENVMGR_AGENT_KEY": KEY, "ENVMGR_STATE_DIR": "/state"}
    here = Place(
        worktree=folder / "it's a tree",
        home=folder / "agent",
        env={**given, **identity},
        hook_command=("report", "it's"),
        tools_command=TOOLS,
    )
    (folder / "agent").mkdir(exist_ok=True)
    return replace(here, **more)


def start(assistant: Assistant, here: Place, **spec: Any) -> Start:
    return assistant.prepare(AssistantSpec(kind=assistant.kind, **spec), here)


def written(folder: Path) -> str:
    """Everything in files below a folder."""
    return "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file())


def server(assistant: Assistant, here: Place, begun: Start) -> Mapping[str, Any] | None:
    """Our MCP server as this CLI is told of it."""
    match assistant.kind:
        case "claude_code":
            file = here.home / "claude-mcp.json"
            known = json.loads(file.read_text(encoding="utf-8"))["mcpServers"] if file.exists() else {}
        case "codex":
            known = settings_of(begun).get("mcp_servers", {})
        case "gemini":
            known = gemini_settings(here).get("mcpServers", {})
        case _:
            known = json.loads(begun.env["OPENCODE_CONFIG_CONTENT"]).get("mcp", {})
    found: Mapping[str, Any] | None = known.get("envmgr")
    return found


def settings_of(begun: Start) -> dict[str, Any]:
    """What Codex reads in its `-c` arguments, which are TOML with dotted keys."""
    pairs = zip(begun.argv, begun.argv[1:], strict=False)
    return tomllib.loads("\n".join(value for flag, value in pairs if flag == "-c"))


def gemini_settings(here: Place) -> dict[str, Any]:
    file = here.home / "gemini" / ".gemini" / "settings.json"
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return settings
