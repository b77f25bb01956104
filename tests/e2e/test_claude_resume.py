"""The real Claude Code CLI comes back with its conversation, and gets a prompt that was cut again, once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
