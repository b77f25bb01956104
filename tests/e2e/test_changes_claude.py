"""The real Claude Code CLI is told what concerns its files, in the middle of a turn and at the beginning of one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.claude import API_KEY, claude_path
from tests.support.host import Host, host
from tests.support.model import ScriptedModel, scripted_model
from tests.support.requirements import proves
from tests.support.wait import eventually

_TEMPLATE = """
envmgr: 1
name: coder
secrets:
  ANTHROPIC_API_KEY: {from: env}
agent:
  kind: claude_code
  command: @CLI@
  permission_mode: acceptEdits
  args: [--allowedTools, Bash]
  env:
    ANTHROPIC_BASE_URL: @URL@
"""
_VIOLATION = "You changed locked.py, which"


def _await(here: Host, activity: str) -> None:
    eventually(lambda: here.agent("c")["activity"] == activity, within_s=60, every_s=0.2)


def _requests_with(model: ScriptedModel, words: str) -> list[str]:
    """What the model was asked, where it was told this."""
    if not model.log.exists():
        return []
    return [text for request in model.requests() if words in (text := json.dumps(request["body"]))]


@proves("CHANGES-006")
def test_claude_code_hears_of_a_violation_behind_its_tool_and_of_the_rest_with_its_next_prompt(
    tmp_path: Path,
) -> None:
    quick = {"ENVMGR_CHANGES__QUIET_S": "0.1", "ANTHROPIC_API_KEY": API_KEY}
    with scripted_model(tmp_path) as model, host(**quick) as here:
        text = _TEMPLATE.replace("@CLI@", json.dumps(claude_path())).replace("@URL@", json.dumps(model.url))
        here.template("coder", text)
        here.ok("spawn", "-t", "coder", "--name", "c")
        held = here.ok("lock", "acquire", "locked.py", "--reason", "a person is at it", "--json").json
        assert held["success"], held

        here.ok("send", "c", "SCN=beside")
        eventually(lambda: _requests_with(model, _VIOLATION), within_s=60, every_s=0.2)
        _await(here, "ready")
        heard = _requests_with(model, _VIOLATION)
        here.ok("lock", "acquire", "web", "--reason", "another")
        here.ok("send", "c", "SCN=hello")
        eventually(lambda: _requests_with(model, "Locked: web by"), within_s=60, every_s=0.2)
        _await(here, "ready")

        assert heard
        assert all(text.count(_VIOLATION) == 1 for text in _requests_with(model, _VIOLATION))
        assert Path(here.agent("c")["worktree"], "locked.py").read_text(encoding="utf-8") == "x = 3\n"
