"""The real Claude Code CLI as an agent: edits a file, asks, is answered, goes on, and is stopped with nothing left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.claude import API_KEY, claude_path
from tests.support.host import Host, host
from tests.support.model import scripted_model
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
  permission_mode: @MODE@
  env:
    ANTHROPIC_BASE_URL: @URL@
"""


@contextmanager
def _coder(folder: Path, *, mode: str = "acceptEdits") -> Iterator[Host]:
    """A host whose template `coder` runs Claude Code against the scripted model."""
    with scripted_model(folder) as model, host(ANTHROPIC_API_KEY=API_KEY) as here:
        text = _TEMPLATE.replace("@CLI@", json.dumps(claude_path())).replace("@URL@", json.dumps(model.url))
        here.template("coder", text.replace("@MODE@", mode))
        yield here


def _await(here: Host, name: str, activity: str) -> None:
    eventually(lambda: here.agent(name)["activity"] == activity, within_s=40, every_s=0.1)


def _answer(here: Host, name: str) -> None:
    """Say yes in the dialog as an attached person does; a dialog ignores keys for a moment after it appears."""
    argv = here.ok("attach", name, "--json").json["argv"]
    server = argv[: argv.index("attach-session")]
    target = argv[argv.index("-t") + 1]

    def pressed() -> bool:
        if here.agent(name)["activity"] == "awaiting_input":
            subprocess.run([*server, "send-keys", "-t", target, "Enter"], check=True)
        return bool(here.agent(name)["activity"] != "awaiting_input")

    eventually(pressed, within_s=30, every_s=0.7)


@proves("ASSIST-E2E-001")
def test_claude_code_edits_asks_and_is_stopped_with_nothing_left(tmp_path: Path) -> None:
    with _coder(tmp_path, mode="default") as here:
        here.ok("spawn", "-t", "coder", "--name", "c")
        agent: Any = here.agent("c")
        tree = Path(agent["worktree"])
        assert agent["activity"] == "ready"

        here.ok("send", "c", "SCN=edit")
        _await(here, "c", "awaiting_input")
        refused = here.run("send", "c", "SCN=hello")
        _answer(here, "c")
        eventually(lambda: (tree / "hello.py").exists(), within_s=40)
        _await(here, "c", "ready")

        assert refused.code == 5, refused
        assert "attach c" in refused.err
        assert (tree / "hello.py").read_text(encoding="utf-8") == "print('hello from agent')\n"
        steps = [e["data"] for e in here.events("c") if e["kind"] == "agent.activity"]
        assert [s["activity"] for s in steps] == ["ready", "working", "awaiting_input", "working", "ready"], (
            steps
        )
        assert {s["source"] for s in steps} == {"hook"}
        here.ok("stop", "c")
        assert here.agent("c")["lifecycle"] == "stopped"
        trusted = json.loads((Path(os.environ["HOME"]) / ".claude.json").read_text(encoding="utf-8"))
        assert str(tree) not in trusted.get("projects", {})


@proves("ASSIST-E2E-002")
def test_the_first_prompt_is_delivered_at_spawn(tmp_path: Path) -> None:
    with _coder(tmp_path) as here:
        here.ok("spawn", "-t", "coder", "--name", "c", "--prompt", "SCN=edit")
        tree = Path(here.agent("c")["worktree"])

        eventually(lambda: (tree / "hello.py").exists(), within_s=40)
        _await(here, "c", "ready")
        here.ok("stop", "c")
        before = here.events("c")[-1]["seq"]

        here.ok("start", "c")

        assert here.agent("c")["activity"] == "ready"
        again = [e for e in here.events("c", "--after", str(before)) if e["kind"] == "agent.activity"]
        assert [e["data"]["activity"] for e in again] == ["ready"], (
            "it waits for its own report, and is not prompted twice"
        )


@proves("ASSIST-E2E-003")
def test_its_key_is_in_no_file_event_or_log(tmp_path: Path) -> None:
    with _coder(tmp_path) as here:
        here.ok("spawn", "-t", "coder", "--name", "c")
        shown = here.ok("env", "c").out
        stored = [
            path
            for path in here.state.rglob("*")
            if path.is_file() and "worktrees" not in path.parts and API_KEY.encode() in path.read_bytes()
        ]

        assert "ANTHROPIC_API_KEY=********" in shown
        assert not stored, stored
        assert API_KEY not in json.dumps(here.events())


@proves("ARCHIVE-009")
def test_the_session_of_a_removed_claude_code_is_archived_and_its_work_goes_on_from_there(
    tmp_path: Path,
) -> None:
    with _coder(tmp_path) as here:
        here.ok("spawn", "-t", "coder", "--name", "c")
        here.ok("send", "c", "SCN=edit")
        eventually(lambda: (Path(here.agent("c")["worktree"]) / "hello.py").exists(), within_s=40)
        _await(here, "c", "ready")
        here.ok("rm", "c", "--stop", "--yes", "--discard", "c")

        shown = here.ok("archive", "show", "c", "--json").json
        screen = here.ok("archive", "show", "c", "--logs", "agent").out
        here.ok("archive", "restore", "c")
        back = Path(here.agent("c")["worktree"])
        here.ok("start", "c")

        kept = [path for path in Path(shown["entry"]["folder"]).rglob("*") if path.is_file()]
        assert (shown["uncommitted"], shown["entry"]["missing"]) == (["hello.py"], [])
        assert "hello.py" in screen
        assert [path for path in kept if API_KEY.encode() in path.read_bytes()] == []
        assert (back / "hello.py").read_text(encoding="utf-8") == "print('hello from agent')\n"
        assert here.agent("c")["activity"] == "ready"
        here.ok("stop", "c")
