"""A person in the agent's terminal: stays there when a recovery puts a new session in the place of the one that went away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from envmgr.app import client
from envmgr.errors import Conflict, EnvmgrError, Unavailable, UsageError

# Any: results are JSON.
_LOOK_S = 5.0
_WAIT_S, _PAUSE_S = 600.0, 0.2


def attach(result: Mapping[str, Any], asked: Mapping[str, Any]) -> int:
    """Run the terminal client until the person leaves, or the agent is no more; returns the exit status."""
    if not sys.stdin.isatty():
        raise UsageError("attach needs a terminal", hint="See the screen with `envmgr logs NAME agent`.")
    environment = {k: v for k, v in os.environ.items() if k not in ("TMUX", "TMUX_PANE")}
    while True:
        session = _line(result["identify"], environment)
        status = _run(result["argv"], environment)
        if session and _line(result["identify"], environment) == session:
            return status  # it is there: the person has left it
        again = _wait(result["name"], asked)
        if again is None:
            return status
        result = again


def _run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    sys.stdout.flush()
    try:
        return subprocess.call(argv, env=environment)
    except OSError as error:
        raise Unavailable(f"cannot execute {argv[0]}: {error.strerror}", hint="Is it installed?") from error


def _line(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Empty when nobody answers."""
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=_LOOK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _wait(name: str, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The way into the agent's next session; None when there will be none, which is told."""
    print(f"The terminal session of {name} is gone. Waiting for its return; Ctrl-C leaves.", flush=True)
    deadline = time.monotonic() + _WAIT_S
    try:
        while time.monotonic() < deadline:
            agent = _ask("GET", name)
            if not _may_come_back(agent):
                print(f"{name} is {agent['lifecycle']}: {agent['reason']}")
                return None
            try:
                window = asked.get("window", "agent")
                way: Mapping[str, Any] = _ask("POST", name, "/attach", {"window": window, "again": True})
                return way
            except Conflict:
                time.sleep(_PAUSE_S)
    except KeyboardInterrupt:
        print()
        return None
    except EnvmgrError as error:  # such as an agent that was removed
        print(error.message)
        return None
    print(f"It did not come back; see `envmgr why {name}`.")
    return None


def _may_come_back(agent: Mapping[str, Any]) -> bool:
    is_recovering = any(one["type"] == "Recovering" for one in agent["conditions"])
    return agent["lifecycle"] in ("running", "spawning") or (
        agent["lifecycle"] == "stopping" and is_recovering
    )


def _ask(method: str, name: str, more: str = "", body: Mapping[str, Any] | None = None) -> Any:
    path = f"/api/v1/agents/{urllib.parse.quote(name, safe='')}{more}"
    return json.loads(client.ask(method, path, body).body())
