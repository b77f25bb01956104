"""Agents that write beside each other: a real daemon sees it, says so, and reports what touches the main checkout."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from envmgr.assistants.hooks import hook_command
from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_TEMPLATE = """\
envmgr: 1
agent:
  kind: command
  command: [sh, -c, 'echo "$ENVMGR_AGENT_KEY" >"{keys}/$(basename "$PWD")"; exec sleep 1000']
"""


@contextmanager
def _yard(*names: str) -> Iterator[Host]:
    """A host with agents of these names, whose files are watched."""
    with host(ENVMGR_CHANGES__QUIET_S="0.1") as made:
        keys = made.state.parent / "keys"
        keys.mkdir()
        (made.repo / ".gitignore").write_text("*.log\n/out/\n", encoding="utf-8")
        (made.repo / "app.py").write_text("1\n", encoding="utf-8")
        git(made.repo, "add", "--all")
        git(made.repo, "commit", "-qm", "files")
        made.template("side", _TEMPLATE.format(keys=keys))
        for name in names:
            made.ok("spawn", "-t", "side", "--name", name)
            eventually(partial(_key, made, name))
        yield made


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with _yard("left", "right") as made:
        yield made


def _key(here: Host, name: str) -> str:
    file = here.state.parent / "keys" / _tree(here, name).name
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


def _tree(here: Host, name: str) -> Path:
    return Path(here.agent(name)["worktree"])


def _as(here: Host, name: str, *words: str) -> Any:
    """A command of an agent, as JSON."""
    done = here.run(*words, "--json", cwd=_tree(here, name), env={"ENVMGR_AGENT_KEY": _key(here, name)})
    return done.json


def _warnings(here: Host, name: str) -> list[str]:
    warnings: list[str] = _as(here, name, "session", "heartbeat")["warnings"]
    return warnings


def _hook(here: Host, name: str, hook: str, payload: dict[str, object]) -> str:
    """What the hook of an agent's assistant prints."""
    agent = here.agent(name)
    home = here.state / "agents" / agent["id"]
    command = hook_command(
        sys.executable,
        here.state / "daemon.sock",
        agent=agent["id"],
        generation=agent["generation"],
        home=home,
    )
    done = subprocess.run(
        [*command, hook], input=json.dumps(payload).encode(), capture_output=True, check=True
    )
    return done.stdout.decode()


def _write(here: Host, name: str, path: str, text: str) -> None:
    file = _tree(here, name) / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _changes(here: Host, *words: str) -> dict[tuple[str, str], Any]:
    found = here.ok("changes", *words, "--json").json["changes"]
    return {(change["agent"], change["path"]): change for change in found}


def _kinds(here: Host, name: str) -> list[str]:
    return [event["kind"] for event in here.events(name)]


@proves("CHANGES-003", "CHANGES-007")
def test_what_agents_write_is_seen_and_a_write_against_a_lock_is_told_to_both(here: Host) -> None:
    held = _as(here, "left", "lock", "acquire", "app.py", "--reason", "moving it")
    assert held["success"], held

    _write(here, "right", "x.log", "ignored\n")
    _write(here, "right", "out/o.bin", "ignored\n")
    _write(here, "right", "app.py", "2\n")
    _write(here, "left", "app.py", "3\n")
    _write(here, "left", "new/deep.py", "4\n")
    wanted = {("right", "app.py"), ("left", "app.py"), ("left", "new/deep.py")}
    eventually(lambda: wanted <= _changes(here).keys(), within_s=15, every_s=0.2)

    seen = _changes(here)
    assert not {("right", "x.log"), ("right", "out/o.bin")} & seen.keys()
    assert seen["right", "app.py"]["locked_by"] == "left"
    assert seen["left", "new/deep.py"]["kind"] == "added"
    assert ("right", "app.py") not in _changes(here, "left")
    assert _kinds(here, "right").count("lock.violation") == 1
    assert _kinds(here, "left").count("lock.violated") == 1
    rows = here.ok("audit", "--json").json["entries"]
    assert [row["target"] for row in rows if row["operation"] == "lock.violation"] == ["app.py"]
    assert "app.py  (locked by left)" in here.ok("changes").out
    right, left = _warnings(here, "right"), _warnings(here, "left")
    assert "You changed app.py, which left has locked. Leave it as it was, or agree with left first." in right
    assert "right changed app.py, which you have locked." in left
    assert _warnings(here, "left") == []


@proves("CHANGES-005")
def test_the_main_checkout_is_watched_and_who_said_so_is_named(here: Host) -> None:
    main = here.repo / "main.py"
    payload: dict[str, object] = {
        "tool_name": "Write",
        "tool_input": {"file_path": str(main), "content": "9\n"},
    }
    said = _hook(here, "right", "PreToolUse", payload)

    main.write_text("9\n", encoding="utf-8")
    eventually(lambda: "change.main_checkout" in _kinds(here, "right"), within_s=15, every_s=0.2)

    (told,) = [event["data"] for event in here.events("right") if event["kind"] == "change.main_checkout"]
    assert said == ""
    assert (told["files"], told["evidence"], told["agents"]) == (["main.py"], "tool", ["right"])
    assert _changes(here, "right")["right", "main.py"]["main_checkout"]
    warnings = _warnings(here, "right")
    assert any("You changed main.py in the main checkout" in line for line in warnings), warnings


@proves("CHANGES-005")
def test_a_person_who_edits_while_nobody_works_is_not_reported(here: Host) -> None:
    (here.repo / "mine.py").write_text("1\n", encoding="utf-8")
    _write(here, "left", "later.py", "1\n")

    eventually(lambda: ("left", "later.py") in _changes(here), within_s=15, every_s=0.2)

    assert not [change for change in _changes(here).values() if change["path"] == "mine.py"]


@proves("CHANGES-004")
def test_nothing_is_reported_anew_after_a_restart_of_the_daemon() -> None:
    with _yard("left") as here:
        _restart(here)
        _warnings(here, "left")
        assert _told(here) == 1

        here.ok("rm", "left", "--stop", "--yes", "--discard", "left")

        eventually(lambda: _told(here) == 0, within_s=15, every_s=0.2)


def _told(here: Host) -> int:
    """How many are known to have been told something."""
    with closing(sqlite3.connect(f"file:{here.state / 'envmgr.db'}?mode=ro", uri=True)) as store:
        return int(store.execute("SELECT count(*) FROM told").fetchone()[0])


def _restart(here: Host) -> None:
    _write(here, "left", "before.py", "1\n")
    eventually(lambda: ("left", "before.py") in _changes(here), within_s=15, every_s=0.2)
    before, events = _changes(here), len(here.events())
    here.ok("daemon", "stop")
    here.ok("daemon", "start")

    _write(here, "left", "after.py", "1\n")
    eventually(lambda: ("left", "after.py") in _changes(here), within_s=15, every_s=0.2)

    after = _changes(here)
    assert after.keys() == before.keys() | {("left", "after.py")}
    assert {key: after[key]["changed_at"] for key in before} == {
        key: change["changed_at"] for key, change in before.items()
    }
    assert not {"lock.violation", "change.main_checkout"} & {
        event["kind"] for event in here.events()[events:]
    }
