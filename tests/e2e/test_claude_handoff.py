"""The real Claude Code CLI: what it leaves at a compaction and at a stop, and what its model is told when it is back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.claude import API_KEY, claude_path
from tests.support.host import Host, host
from tests.support.model import ScriptedModel, scripted_model
from tests.support.requirements import proves
from tests.support.survive import sessions, tmux
from tests.support.wait import eventually

_TEMPLATE = """
envmgr: 1
name: coder
secrets:
  ANTHROPIC_API_KEY: {from: env}
agent:
  kind: claude_code
  command: @CLI@
  env:
    ANTHROPIC_BASE_URL: @URL@
"""


def _left(here: Host) -> dict[str, Any]:
    found = here.ok("handoff", "ls", "c", "--json").json["handoffs"]
    return {one["kind"]: one for one in found}


def _told(model: ScriptedModel) -> str:
    """All that the model was sent last."""
    bodies = [request["body"] for request in model.requests() if (request["body"] or {}).get("messages")]
    return json.dumps(bodies[-1]) if bodies else ""


@proves("HAND-003", "HAND-004")
@pytest.mark.timeout(150)
def test_a_compaction_and_a_stop_leave_handoffs_and_the_model_is_told_the_last_one(tmp_path: Path) -> None:
    with scripted_model(tmp_path) as model, host(ANTHROPIC_API_KEY=API_KEY) as here:
        text = _TEMPLATE.replace("@CLI@", json.dumps(claude_path())).replace("@URL@", json.dumps(model.url))
        here.template("coder", text)
        here.ok("spawn", "-t", "coder", "--name", "c", "--prompt", "SCN=hello build the parser")
        eventually(lambda: here.agent("c")["activity"] == "ready", within_s=40, every_s=0.1)
        (session,) = [name for name in sessions(here) if name.startswith("em-")]

        tmux(here, "send-keys", "-t", f"{session}:agent", "/compact", "Enter")
        eventually(lambda: "compaction" in _left(here), within_s=40, every_s=0.2)
        here.ok("stop", "c")
        here.ok("start", "c")
        here.ok("send", "c", "SCN=hello second")

        eventually(lambda: "SCN=hello second" in _told(model), within_s=40, every_s=0.2)
        left = _left(here)
        assert "SCN=hello build the parser" in left["compaction"]["summary"]
        assert left["stop"]["handoff_id"] in _told(model)
        assert API_KEY not in json.dumps(left)
