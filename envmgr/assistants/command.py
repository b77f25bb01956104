"""Any program as an assistant: it is started and watched, and tells nothing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from envmgr.errors import ConfigError, Unavailable
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place, Report, Start

_SHELL = "/bin/sh"
_WORD = re.compile(r"[\w./+-]+")
_SHELL_SIGNS = frozenset(";|&<>()`\n#")
# What can start a command line without being a program.
_SHELL_WORDS = frozenset({
    ".", ":", "alias", "case", "cd", "command", "eval", "exec", "exit", "export", "for", "if", "read", "set", "shift",
    "source", "trap", "ulimit", "umask", "unset", "until", "wait", "while",
})  # fmt: skip


class CommandAssistant:
    """Runs `command`: a list as it is, a string through the shell."""

    kind: ClassVar[str] = "command"
    reports: ClassVar[bool] = False
    converses: ClassVar[bool] = False
    greets: ClassVar[bool] = False
    awaits_tools: ClassVar[bool] = True
    pastes_for_s: ClassVar[float] = 0.0

    def check(self, spec: AssistantSpec, env: Mapping[str, str]) -> str:
        if not spec.command:
            raise ConfigError("the agent has no command", hint="Set `agent.command` in the template.")
        program = spec.command[0] if isinstance(spec.command, tuple) else _program(spec.command)
        return _SHELL if program is None else find_executable(program, env, install="")

    def prepare(self, spec: AssistantSpec, place: Place) -> Start:
        self.check(spec, place.env)
        if isinstance(spec.command, tuple):
            return Start(argv=(*spec.command, *spec.args), env={})
        # As a script with arguments, so that nothing needs quoting. `exec` where one program is all of it: then the
        # pane's process is the program itself, and a signal reaches it and not a shell before it.
        script = spec.command if _program(spec.command) is None else f"exec {spec.command}"
        script = f'{script} "$@"' if spec.args else script
        return Start(argv=(_SHELL, "-c", script, _SHELL, *spec.args), env={})

    def forget(self, spec: AssistantSpec, place: Place) -> None:
        """Nothing was written."""

    def understand(self, hook: str, payload: Mapping[str, object]) -> Report:
        return Report(activity=None, detail=hook)

    def read_screen(self, screen: str) -> Report:
        return Report(activity=None, detail="")


def find_executable(program: str, env: Mapping[str, str], *, install: str) -> str:
    """Find a program on the PATH the assistant will have.

    A path with a folder in it may be relative to a worktree that does not exist yet, and is then taken as it is.

    Raises:
        Unavailable: Not found; the hint is `install`, or names the PATH's variable.
    """
    if "/" in program and not Path(program).is_absolute():
        return program
    path = env.get("PATH", os.defpath)
    found = shutil.which(program, path=path)
    if found is None:
        raise Unavailable(
            f"{program} was not found",
            hint=install or f"Install {program}, or add its folder to PATH in the template's `env`.",
            details={"program": program, "PATH": path},
        )
    return found


def _program(line: str) -> str | None:
    """Give the program of a plain command line; None when only the shell can tell."""
    first, *_ = line.split(maxsplit=1) or [""]
    is_plain = _WORD.fullmatch(first) and first not in _SHELL_WORDS and _SHELL_SIGNS.isdisjoint(line)
    return first if is_plain else None
