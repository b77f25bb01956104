"""Gemini CLI, the real CLI: with a settings folder of the agent's own, in which everything else is the person's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from envmgr.assistants import gemini_home, gemini_hooks, gemini_screen
from envmgr.assistants.command import find_executable
from envmgr.assistants.launching import has_flag, words
from envmgr.errors import ConfigError
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place, Report, Start

_INSTALL = "Run `npm install -g @google/gemini-cli` (node 20 or newer), or set `agent.command` to its path."
_MODES = ("default", "auto_edit", "yolo", "plan")
_OWN_TALK = frozenset({"--resume", "-r", "--session-id"})
# Trusted for this session only; and one process instead of one that starts another.
_ENV = {"GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_CLI_NO_RELAUNCH": "true"}


class GeminiAssistant:
    """Login, extensions and memories are the person's own, by links."""

    kind: ClassVar[str] = "gemini"
    reports: ClassVar[bool] = True
    converses: ClassVar[bool] = True
    greets: ClassVar[bool] = True
    awaits_tools: ClassVar[bool] = True
    pastes_for_s: ClassVar[float] = 0.3

    def check(self, spec: AssistantSpec, env: Mapping[str, str]) -> str:
        if spec.permission_mode not in (None, *_MODES):
            raise ConfigError(
                f"Gemini CLI has no permission mode {spec.permission_mode}",
                hint=f"It has {', '.join(_MODES)}.",
            )
        return find_executable(words(spec, "gemini")[0], env, install=_INSTALL)

    def prepare(self, spec: AssistantSpec, place: Place) -> Start:
        executable = self.check(spec, place.env)
        home = gemini_home.furnish(place)
        model = ("--model", spec.model) if spec.model else ()
        flags = (*_mode(spec), *model, *_talk(spec, place, home))
        env = {
            **{name: value for name, value in _ENV.items() if name not in place.env},
            gemini_home.VARIABLE: str(home),
        }
        return Start(argv=(executable, *words(spec, "gemini")[1:], *flags, *spec.args), env=env)

    def forget(self, spec: AssistantSpec, place: Place) -> None:
        """Nothing was written outside of the agent's folder."""

    def understand(self, hook: str, payload: Mapping[str, object]) -> Report:
        return gemini_hooks.understand(hook, payload)

    def read_screen(self, screen: str) -> Report:
        return gemini_screen.read_screen(screen)


def _mode(spec: AssistantSpec) -> Sequence[str]:
    if has_flag(spec.args, "--approval-mode", "--yolo", "-y"):
        return ()
    return ("--approval-mode", spec.permission_mode or "auto_edit")


def _talk(spec: AssistantSpec, place: Place, home: Path) -> Sequence[str]:
    if not place.conversation or has_flag(spec.args, *_OWN_TALK):
        return ()
    is_begun = gemini_home.has_conversation(home, place.conversation)
    return ("--resume" if is_begun else "--session-id", place.conversation)
