"""opencode, the real CLI: configured by a variable, on top of what the person and the repository have configured."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from envmgr.assistants import opencode_config, opencode_hooks, opencode_screen
from envmgr.assistants.command import find_executable
from envmgr.assistants.launching import has_flag, words
from envmgr.errors import ConfigError
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place, Report, Start

_INSTALL = "Run `npm install -g opencode-ai`, or set `agent.command` to its path."
_OWN_TALK = frozenset({"--session", "-s", "--continue", "-c"})
_QUIET = {"OPENCODE_DISABLE_AUTOUPDATE": "1"}


class OpencodeAssistant:
    """Asks nothing at its first start; tells what it does by a plugin of ours."""

    kind: ClassVar[str] = "opencode"
    reports: ClassVar[bool] = True
    converses: ClassVar[bool] = True
    greets: ClassVar[bool] = False  # its plugins are loaded before it takes keys
    awaits_tools: ClassVar[bool] = True
    pastes_for_s: ClassVar[float] = 0.0

    def check(self, spec: AssistantSpec, env: Mapping[str, str]) -> str:
        if spec.permission_mode not in (None, *opencode_config.MODES):
            raise ConfigError(
                f"opencode has no permission mode {spec.permission_mode}",
                hint=f"It has {', '.join(opencode_config.MODES)}.",
            )
        return find_executable(words(spec, "opencode")[0], env, install=_INSTALL)

    def prepare(self, spec: AssistantSpec, place: Place) -> Start:
        executable = self.check(spec, place.env)
        plugin = opencode_config.write_plugin(place)
        model = ("--model", spec.model) if spec.model else ()
        flags = (*model, *_talk(spec, place))
        env = {name: value for name, value in _QUIET.items() if name not in place.env}
        env[opencode_config.VARIABLE] = opencode_config.content(place, plugin, mode=spec.permission_mode)
        return Start(argv=(executable, *words(spec, "opencode")[1:], *flags, *spec.args), env=env)

    def forget(self, spec: AssistantSpec, place: Place) -> None:
        """Nothing was written outside of the agent's folder."""

    def understand(self, hook: str, payload: Mapping[str, object]) -> Report:
        return opencode_hooks.understand(hook, payload)

    def read_screen(self, screen: str) -> Report:
        return opencode_screen.read_screen(screen)


def _talk(spec: AssistantSpec, place: Place) -> Sequence[str]:
    """opencode gives its conversations their ids itself, and ends when it is asked for one that it does not have."""
    if not place.conversation or has_flag(spec.args, *_OWN_TALK):
        return ()
    return ("--session", place.conversation) if _exists(place.env, place.conversation) else ()


def _exists(env: Mapping[str, str], conversation: str) -> bool:
    home = Path(env.get("HOME") or Path.home())
    file = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share") / "opencode" / "opencode.db"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
            found = database.execute("SELECT 1 FROM session WHERE id = ?", (conversation,))
            return found.fetchone() is not None
    except sqlite3.Error:  # no such file, or another version's
        return False
