"""Claude Code, the real CLI: started without questions, heard through its hooks, and read where they are silent."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from envmgr.assistants import claude_config, claude_hooks, claude_screen, claude_talks
from envmgr.assistants.command import find_executable
from envmgr.assistants.launching import SERVER, has_flag, hook_line, references, words, write_json
from envmgr.errors import ConfigError
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place, Report, Start

_SETTINGS = "claude-settings.json"
_TOOLS = "claude-mcp.json"
_DEFAULT_MODE = "acceptEdits"
_BYPASS = "bypassPermissions"
_INSTALL = (
    "Run `npm install -g @anthropic-ai/claude-code` (node 22 or newer), or set `agent.command` to its path."
)
_QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
# Else a server that needs longer than 5 s, as on a busy machine, has failed.
_PATIENT = {"MCP_CONNECT_TIMEOUT_MS": "30000"}
_HOOK_TIMEOUT_S = 5
_OWN_TALK = frozenset({"--resume", "-r", "--continue", "-c", "--session-id"})


class ClaudeCodeAssistant:
    """Uses the person's own configuration folder, because their login lives there (docs/reference/assistants.md)."""

    kind: ClassVar[str] = "claude_code"
    reports: ClassVar[bool] = True
    converses: ClassVar[bool] = True
    greets: ClassVar[bool] = True
    awaits_tools: ClassVar[bool] = False
    pastes_for_s: ClassVar[float] = 0.0

    def check(self, spec: AssistantSpec, env: Mapping[str, str]) -> str:
        if has_flag(spec.args, "--settings"):
            raise ConfigError(
                "agent.args may not hold --settings: envmgr needs it for its hooks",
                hint="Put these settings into .claude/settings.json of the repository or of your home.",
            )
        # Claude Code would print this and end, in a pane that nobody has seen yet.
        if _mode(spec) == _BYPASS and os.geteuid() == 0 and not env.get("IS_SANDBOX"):
            raise ConfigError(
                f"Claude Code refuses {_BYPASS} as root",
                hint="Choose another permission_mode or user; in a sandbox, set IS_SANDBOX=1 in the template's env.",
            )
        return find_executable(words(spec, "claude")[0], env, install=_INSTALL)

    def prepare(self, spec: AssistantSpec, place: Place) -> Start:
        executable = self.check(spec, place.env)
        file = claude_config.config_file(place.env)
        claude_config.admit(file, place.worktree, api_key=place.env.get("ANTHROPIC_API_KEY"))
        settings = _write_settings(place.home / _SETTINGS, spec=spec, place=place)
        model = ("--model", spec.model) if spec.model else ()
        # Without --permission-mode the CLI's own default holds, which changes between its versions.
        given = ("--settings", str(settings), *_tools(place), "--permission-mode", _mode(spec))
        flags = (*given, *model, *_talk(spec, place))
        env = {**_QUIET, **(_PATIENT if place.tools_command else {})}
        env = {name: value for name, value in env.items() if name not in place.env}
        return Start(argv=(executable, *words(spec, "claude")[1:], *flags, *spec.args), env=env)

    def forget(self, spec: AssistantSpec, place: Place) -> None:
        """Take back the trust; that the person knows Claude Code and approved a key remains."""
        claude_config.forget(claude_config.config_file(place.env), place.worktree)

    def understand(self, hook: str, payload: Mapping[str, object]) -> Report:
        return claude_hooks.understand(hook, payload)

    def read_screen(self, screen: str) -> Report:
        return claude_screen.read_screen(screen)


def _mode(spec: AssistantSpec) -> str:
    return spec.permission_mode or _DEFAULT_MODE


def _talk(spec: AssistantSpec, place: Place) -> Sequence[str]:
    """Go on with the agent's conversation, or begin it under its id; who names one in the arguments has said which."""
    if not place.conversation or has_flag(spec.args, *_OWN_TALK):
        return ()
    is_begun = claude_talks.exists(place.env, place.conversation)
    return ("--resume" if is_begun else "--session-id", place.conversation)


def _write_settings(file: Path, *, spec: AssistantSpec, place: Place) -> Path:
    """Settings of this session only; they add to the person's and the repository's."""
    hooks = {hook: _hook(hook_line(place.hook_command, hook)) for hook in claude_hooks.HOOKS}
    if place.handoff is not None:
        # What this hook prints goes to the model, without a turn of its own. A new system prompt would not: a conversation
        # keeps its first one.
        tell = {"type": "command", "command": f"cat {shlex.quote(str(place.handoff))} 2>/dev/null || true"}
        hooks["SessionStart"].append({"matcher": "startup|resume|compact", "hooks": [tell]})
    settings: dict[str, object] = {"hooks": hooks}
    if place.tools_command:
        settings["permissions"] = {"allow": [f"mcp__{SERVER}"]}
    if _mode(spec) == _BYPASS:
        # The template has already said yes to what Claude Code would ask now.
        settings["skipDangerousModePermissionPrompt"] = True
    return write_json(file, settings)


def _tools(place: Place) -> Sequence[str]:
    """envmgr's tools, beside the MCP servers that the person and the repository have."""
    if not place.tools_command:
        return ()
    server = {
        "command": place.tools_command[0],
        "args": place.tools_command[1:],
        "env": references(place, "${{{}}}"),
        "alwaysLoad": True,  # else the model sees none of its tools before it has searched for them
    }
    return ("--mcp-config", str(write_json(place.home / _TOOLS, {"mcpServers": {SERVER: server}})))


def _hook(line: str) -> list[object]:
    # Never a failure: exit status 2, which Python also has for a missing script, would forbid every tool call.
    return [{"hooks": [{"type": "command", "command": line, "timeout": _HOOK_TIMEOUT_S}]}]
