"""Codex, the real CLI: everything it needs to know of its agent is in its arguments, and the person's configuration stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from envmgr.assistants import codex_flags, codex_hooks, codex_screen
from envmgr.assistants.command import find_executable
from envmgr.assistants.launching import has_flag, words
from envmgr.errors import ConfigError
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place, Report, Start

_INSTALL = "Run `npm install -g @openai/codex`, or set `agent.command` to its path."
_SANDBOXES = ("read-only", "workspace-write", "danger-full-access")
_OWN_TALK = frozenset({"resume", "fork", "exec"})


class CodexAssistant:
    """Uses the person's own CODEX_HOME, because their login lives there."""

    kind: ClassVar[str] = "codex"
    reports: ClassVar[bool] = True
    converses: ClassVar[bool] = True
    greets: ClassVar[bool] = False  # SessionStart comes with the first prompt
    awaits_tools: ClassVar[bool] = True
    pastes_for_s: ClassVar[float] = 0.0

    def check(self, spec: AssistantSpec, env: Mapping[str, str]) -> str:
        if spec.permission_mode not in (None, *_SANDBOXES):
            raise ConfigError(
                f"Codex has no permission mode {spec.permission_mode}",
                hint=f"Its sandboxes are {', '.join(_SANDBOXES)}.",
            )
        return find_executable(words(spec, "codex")[0], env, install=_INSTALL)

    def prepare(self, spec: AssistantSpec, place: Place) -> Start:
        executable = self.check(spec, place.env)
        flags = codex_flags.flags(place)
        model = ("--model", spec.model) if spec.model else ()
        argv = (executable, *words(spec, "codex")[1:], *flags, *model, *_mode(spec), *_talk(spec, place))
        return Start(argv=(*argv, *spec.args), env={})

    def forget(self, spec: AssistantSpec, place: Place) -> None:
        """Nothing was written outside of the agent's folder."""

    def understand(self, hook: str, payload: Mapping[str, object]) -> Report:
        return codex_hooks.understand(hook, payload)

    def read_screen(self, screen: str) -> Report:
        return codex_screen.read_screen(screen)


def _mode(spec: AssistantSpec) -> Sequence[str]:
    """What the template's arguments say goes; Codex takes none of these twice."""
    sandbox = (
        () if has_flag(spec.args, "-s", "--sandbox") else ("-s", spec.permission_mode or "workspace-write")
    )
    asks = () if has_flag(spec.args, "-a", "--ask-for-approval") else ("-a", "on-request")
    return (*asks, *sandbox)


def _talk(spec: AssistantSpec, place: Place) -> Sequence[str]:
    """Codex gives its conversations their ids itself, and says them at the first prompt."""
    if not place.conversation or has_flag(spec.args, *_OWN_TALK):
        return ()
    is_begun = _exists(place.env, place.conversation)
    return ("resume", place.conversation) if is_begun else ()


def _exists(env: Mapping[str, str], conversation: str) -> bool:
    home = Path(env.get("HOME") or Path.home())
    folder = Path(env.get("CODEX_HOME") or home / ".codex")
    return any(folder.glob(f"sessions/*/*/*/rollout-*-{conversation}.jsonl"))
