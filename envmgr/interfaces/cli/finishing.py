"""Operations whose last part happens in the person's own terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from envmgr.errors import Unavailable
from envmgr.interfaces.cli.attaching import attach

# Any: results are JSON.
_ENGINE = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_TERMINAL = ("TERM", "COLORTERM", "NO_COLOR")
_IDENTITY = ("ENVMGR_AGENT_KEY", "ENVMGR_SESSION")
"""The caller's own. Without it the command could do what the caller's key is not good for."""

Finish = Callable[[Mapping[str, Any], Mapping[str, Any]], int]


def execute(result: Mapping[str, Any], asked: Mapping[str, Any]) -> int:
    """Become the command, in the agent's worktree and environment, or docker's client that runs it in a container."""
    os.chdir(result["worktree"])
    if container := result.get("container"):
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return _become(
            ["docker", "exec", "-i", *(["-t"] if is_terminal else []), container, *asked["command"]],
            {k: v for k, v in os.environ.items() if k not in _ENGINE} | result["engine"],
        )
    keep = {k: os.environ[k] for k in (*_TERMINAL, *_IDENTITY) if k in os.environ}
    return _become(asked["command"], {**result["env"], **keep})


def _become(argv: list[str], environment: dict[str, str]) -> int:
    sys.stdout.flush()
    try:
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        raise Unavailable(f"cannot execute {argv[0]}: {error.strerror}", hint="Is it installed?") from error


FINISHERS: Mapping[str, Finish] = {"agent.attach": attach, "agent.exec": execute}
