"""The real Claude Code CLI comes back with its conversation, and gets a prompt that was cut again, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.claude import API_KEY, claude_path
from tests.support.host import Host, host
from tests.support.model import ScriptedModel, scripted_model
from tests.support.requirements import proves
from tests.support.survive import is_alive, kill_daemon, processes_of
from tests.support.wait import eventually

_TEMPLATE = """
envmgr: 1
name: coder
secrets:
  ANTHROPIC_API_KEY: {from: env}
services:
  web:
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    ready: {tcp: {port: http}}
agent:
  kind: claude_code
  command: @CLI@
  resume: @RESUME@
  env:
    ANTHROPIC_BASE_URL: @URL@
"""


@contextmanager
def _coder(folder: Path, *, resume: str = "auto") -> Iterator[tuple[Host, ScriptedModel]]:
    """A host whose template `coder` runs Claude Code against the scripted model."""
    with scripted_model(folder) as model, host(ANTHROPIC_API_KEY=API_KEY) as here:
        text = _TEMPLATE.replace("@CLI@", json.dumps(claude_path())).replace("@URL@", json.dumps(model.url))
        here.template("coder", text.replace("@RESUME@", resume))
        yield here, model


def _await(here: Host, activity: str) -> None:
    eventually(lambda: here.agent("c")["activity"] == activity, within_s=40, every_s=0.1)


# Any throughout: requests are JSON.
def _asked(model: ScriptedModel) -> list[list[str]]:
    """What people said, turn by turn, in each request of the main loop."""
    bodies = [request["body"] or {} for request in model.requests()] if model.log.exists() else []
    return [_prompts(body) for body in bodies if "messages" in body]


def _prompts(body: Any) -> list[str]:
    said = []
    for message in body["messages"]:
        if message["role"] == "user":
            content = message["content"]
            parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
            said += [text for text in parts if "SCN=" in text and "<system-reminder>" not in text]
    return said


@proves("RESUME-001")
def test_an_agent_that_is_started_again_goes_on_with_its_conversation(tmp_path: Path) -> None:
    with _coder(tmp_path) as (here, model):
        here.ok("spawn", "-t", "coder", "--name", "c", "--prompt", "SCN=hello first")
        eventually(lambda: _asked(model), within_s=30)
        _await(here, "ready")
        here.ok("stop", "c")

        here.ok("start", "c")
        here.ok("send", "c", "SCN=hello second")

        eventually(lambda: _asked(model)[-1:] == [["SCN=hello first", "SCN=hello second"]], within_s=30)
        _await(here, "ready")


@proves("RESUME-002")
def test_with_resume_never_it_begins_anew(tmp_path: Path) -> None:
    with _coder(tmp_path, resume="never") as (here, model):
        here.ok("spawn", "-t", "coder", "--name", "c", "--prompt", "SCN=hello first")
        eventually(lambda: _asked(model), within_s=30)
        _await(here, "ready")
        here.ok("stop", "c")

        here.ok("start", "c")
        here.ok("send", "c", "SCN=hello second")

        eventually(lambda: _asked(model)[-1:] == [["SCN=hello second"]], within_s=30)
        _await(here, "ready")


def _pid(here: Host) -> int:
    """Of Claude Code: the pane's process."""
    argv = here.ok("attach", "c", "--json").json["argv"]
    server, target = argv[: argv.index("attach-session")], argv[argv.index("-t") + 1]
    shown = subprocess.run(
        [*server, "display-message", "-p", "-t", target, "#{pane_pid}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(shown.stdout)


def _in_the_middle_of_a_turn(here: Host, model: ScriptedModel) -> int:
    """Spawn it and give it a prompt that takes long; returns its pid."""
    here.ok("spawn", "-t", "coder", "--name", "c")
    here.ok("send", "c", "SCN=slow_tool of the test")
    eventually(lambda: _asked(model), within_s=30)
    _await(here, "working")
    return _pid(here)


@proves("RESUME-003", "R-14")
def test_a_claude_that_is_killed_in_a_turn_comes_back_and_gets_its_prompt_again_once(tmp_path: Path) -> None:
    with _coder(tmp_path) as (here, model):
        old = _in_the_middle_of_a_turn(here, model)
        before = here.agent("c")
        web = [p.pid for p in processes_of(here, before, part="service:web")]

        os.kill(old, signal.SIGKILL)

        eventually(lambda: not is_alive(old))
        eventually(lambda: _asked(model)[-1].count("SCN=slow_tool of the test") == 2, within_s=60)
        _await(here, "ready")
        after = here.agent("c")
        assert (after["lifecycle"], after["generation"]) == ("running", 1)
        assert after["services"] == before["services"]
        assert [p.pid for p in processes_of(here, after, part="service:web")] == web
        assert max(said.count("SCN=slow_tool of the test") for said in _asked(model)) == 2
        assert _pid(here) != old


@proves("RESUME-004", "R-22")
def test_a_daemon_that_dies_in_a_turn_leaves_claude_alone_and_says_nothing_twice(tmp_path: Path) -> None:
    with _coder(tmp_path) as (here, model):
        claude = _in_the_middle_of_a_turn(here, model)

        kill_daemon(here)

        _await(here, "ready")
        assert _pid(here) == claude
        assert max(said.count("SCN=slow_tool of the test") for said in _asked(model)) == 1


@proves("RESUME-005", "R-22")
@pytest.mark.parametrize("point", ["rung-session-started", "rung-session-resending", "rung-session-done"])
def test_a_daemon_that_dies_while_it_brings_claude_back_says_the_prompt_once(
    tmp_path: Path, point: str
) -> None:
    with _coder(tmp_path) as (here, model):
        here.run("ls", env={"ENVMGR_CRASH_AT": point})
        daemon = here.daemon_pid()
        assert daemon is not None
        claude = _in_the_middle_of_a_turn(here, model)

        os.kill(claude, signal.SIGKILL)

        eventually(lambda: not is_alive(daemon), within_s=60)
        here.ok("ls")  # the next daemon
        eventually(lambda: _asked(model)[-1].count("SCN=slow_tool of the test") == 2, within_s=60)
        _await(here, "ready")
        assert max(said.count("SCN=slow_tool of the test") for said in _asked(model)) == 2
