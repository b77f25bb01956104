"""Claude Code, Codex, Gemini CLI and opencode, the real CLIs, work together through envmgr's own tools, each as itself."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clis import KINDS, furnish, template
from tests.support.host import Host, host
from tests.support.model import ScriptedModel, scripted_model
from tests.support.requirements import proves
from tests.support.survive import sessions, tmux
from tests.support.wait import eventually

# Each starts a whole CLI and a daemon; opencode takes most of a minute where two processors are shared.
pytestmark = pytest.mark.timeout(240)
_PROMPT_S = 90
_SHORTEN = {"gemini": "/compress"}


@contextmanager
def _client(folder: Path, kind: str, **agent: object) -> Iterator[tuple[Host, ScriptedModel]]:
    """A host with a template `coder` that runs this CLI in a fresh home, against the scripted model."""
    home = folder / "home"
    furnish(home)
    with scripted_model(folder) as model, host(HOME=str(home)) as here:
        here.template("coder", template(kind, model.url, **agent))
        yield here, model


def _task(here: Host, task: str) -> Any:
    return here.ok("task", "show", task, "--json").json


@proves("CLIENT-001", "CLIENT-002", "CLIENT-003", "HAND-003", "HAND-004", "CHANGES-006")
@pytest.mark.parametrize("kind", KINDS)
def test_a_real_client_locks_claims_and_completes_as_itself_and_comes_back(kind: str, tmp_path: Path) -> None:
    with _client(tmp_path, kind) as (here, model):
        task = here.ok("task", "add", "write it down", "--json").json["task_id"]
        here.ok("spawn", "-t", "coder", "--name", "c", "--prompt", "SCN=coordinate")
        agent = here.agent("c")

        eventually(lambda: _turns(here) == 1, within_s=_PROMPT_S, every_s=0.3)
        done, locks = _task(here, task), here.ok("lock", "ls", "--json").json["locks"]
        here.ok("stop", "c")
        released = here.ok("lock", "ls", "--json").json["locks"]
        _has_left_no_trace(here, tmp_path, agent["worktree"])
        here.ok("start", "c")
        eventually(lambda: here.agent("c")["activity"] == "ready", within_s=_PROMPT_S, every_s=0.3)
        here.ok("lock", "acquire", "web", "--reason", "a person is at it")
        here.ok("send", "c", "SCN=ls")
        eventually(lambda: _turns(here) == 2, within_s=_PROMPT_S, every_s=0.3)

        assert (done["status"], done["claimed_by"]) == ("done", "c"), done
        assert done["result"] == {"by": "the scripted model"}
        assert [(one["target"], one["holder_id"]) for one in locks] == [("src/app.py", agent["id"])], locks
        assert released == []
        audited = here.ok("audit", "--last", "1h", "--agent", agent["id"], "--json").json
        assert _asked_by(audited, agent["id"]) >= {"lock.acquire", "task.claim", "task.complete"}, audited
        assert _called(model) == ["acquire_lock", "get_work", "complete_work"]
        said = json.dumps(model.requests()[-1]["body"])
        assert "SCN=coordinate" in said, "the conversation goes on"
        assert _left(here)["stop"] in said, "it is told what its last session left"
        assert _heard(model, "Locked: web by") == 1, "what others have is told with the prompt"
        _shorten(here, kind)
        eventually(lambda: "compaction" in _left(here), within_s=_PROMPT_S, every_s=0.3)
        here.ok("stop", "c")


def _shorten(here: Host, kind: str) -> None:
    """As a person asks for it."""
    (session,) = [name for name in sessions(here) if name.startswith("em-")]
    pane, words = f"{session}:agent", _SHORTEN.get(kind, "/compact")
    tmux(here, "send-keys", "-t", pane, words)
    eventually(lambda: words in tmux(here, "capture-pane", "-p", "-t", pane), within_s=20)
    tmux(here, "send-keys", "-t", pane, "Enter")


def _left(here: Host) -> dict[str, str]:
    """Handoffs, by why they were made."""
    found = here.ok("handoff", "ls", "c", "--json").json["handoffs"]
    return {one["kind"]: one["handoff_id"] for one in found}


def _called(model: ScriptedModel) -> list[str]:
    """Tools of ours that the model has called."""
    calls = [r["action"] for r in model.requests() if r["action"] and r["action"]["type"] == "Call"]
    return [call["tool"].split("envmgr")[1].strip("_") for call in calls if "envmgr" in call["tool"]]


def _heard(model: ScriptedModel, words: str) -> int:
    """How often the newest request about it says so; older ones are part of the conversation."""
    texts = [text for request in model.requests() if words in (text := json.dumps(request["body"]))]
    return texts[-1].count(words) if texts else 0


def _asked_by(audited: Any, agent: str) -> set[str]:
    """Operations that the audit trail has of an agent."""
    return {row["operation"] for row in audited["entries"] if row["agent"] == agent}


def _has_left_no_trace(here: Host, folder: Path, worktree: str) -> None:
    """Nothing in the worktree, and no key in any file that stays."""
    status = ["git", "-C", worktree, "status", "--porcelain", "--ignored"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == ""
    places = (path for top in (here.state, folder) for path in top.rglob("*"))
    keys = [path for path in places if path.is_file() and b"emk_" in path.read_bytes()]
    assert keys == []


def _turns(here: Host) -> int:
    """How often it has worked and was ready again."""
    told = [e["data"]["activity"] for e in _activities(here)]
    return sum(pair == ("working", "ready") for pair in itertools.pairwise(told))


def _activities(here: Host) -> list[Any]:
    return [e for e in here.events("c") if e["kind"] == "agent.activity"]
