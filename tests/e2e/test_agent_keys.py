"""An agent's key: new at each start, in its assistant's environment only, good across daemons, worthless after a stop."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

KEY = "ENVMGR_AGENT_KEY"
_TEMPLATE: dict[str, Any] = {
    "envmgr": 1,
    "name": "keyed",
    "agent": {"kind": "command", "command": ["sleep", "1000"]},
    "services": {"beside": {"command": ["sleep", "2000"]}},
}


def _template(here: Host, **agent: object) -> None:
    document = {**_TEMPLATE, "agent": {**_TEMPLATE["agent"], **agent}}
    here.template("keyed", json.dumps(document))


def _environments(here: Host) -> dict[str, dict[str, str]]:
    """Of all processes of the agent, by command line."""
    found = {}
    for process in psutil.process_iter():
        try:
            variables, command = process.environ(), " ".join(process.cmdline())
        except psutil.Error:
            continue
        if variables.get("ENVMGR_AGENT") and str(here.state) in variables.get("ENVMGR_WORKTREE", ""):
            found[command] = variables
    return found


def _key(here: Host) -> str:
    return _environments(here)["sleep 1000"][KEY]


@proves("CLIENT-010", "CLIENT-011")
def test_a_key_is_its_assistants_alone_good_across_daemons_and_worthless_after_a_stop() -> None:
    with host() as here:
        _template(here)
        here.ok("spawn", "-t", "keyed", "--name", "k")
        key = _key(here)

        places = {name for name, variables in _environments(here).items() if KEY in variables}
        shown = here.ok("env", "k").out + here.ok("exec", "k", "--", "env").out
        files = [
            file for file in here.state.rglob("*") if file.is_file() and key.encode() in file.read_bytes()
        ]
        here.ok("daemon", "stop")
        adopted = here.run("task", "ls", env={KEY: key})
        here.ok("stop", "k")
        stopped = here.run("task", "ls", env={KEY: key})
        here.ok("start", "k")
        again = _key(here)

        assert places == {"sleep 1000"}
        assert key not in shown
        assert files == []
        assert adopted.code == 0, adopted
        assert (stopped.code, "revoked" in stopped.err) == (6, True), stopped
        assert again != key
        assert here.run("task", "ls", env={KEY: again}).code == 0
        here.ok("rm", "k", "--stop", "--yes")
        assert here.run("task", "ls", env={KEY: again}).code == 6


@proves("CLIENT-011")
def test_the_key_of_an_assistant_that_was_killed_is_worthless_until_the_next_start_makes_another() -> None:
    with host() as here:
        _template(here)
        here.ok("spawn", "-t", "keyed", "--name", "k")
        key = _key(here)
        before = here.run("task", "ls", env={KEY: key})
        pid = next(p.pid for p in psutil.process_iter() if _is_keyed(p, key))

        os.kill(pid, signal.SIGKILL)

        eventually(lambda: here.run("task", "ls", env={KEY: key}).code == 6, within_s=10)
        assert before.code == 0
        here.ok("stop", "k")
        here.ok("start", "k")
        assert here.run("task", "ls", env={KEY: _key(here)}).code == 0
        assert here.run("task", "ls", env={KEY: key}).code == 6


def _is_keyed(process: psutil.Process, key: str) -> bool:
    try:
        return process.environ().get(KEY) == key
    except psutil.Error:
        return False


@proves("CLIENT-012")
def test_a_command_inside_of_an_agent_is_the_agents_within_its_scopes() -> None:
    with host() as here:
        _template(here)
        here.ok("spawn", "-t", "keyed", "--name", "k")
        agent, key = here.agent("k"), _key(here)

        locked = here.run("lock", "acquire", "a.py", "--json", env={KEY: key})
        refused = here.run("stop", "k", env={KEY: key})

        held = here.ok("lock", "ls", "--json").json["locks"]
        assert locked.code == 0, locked
        assert [one["holder_id"] for one in held] == [agent["id"]]
        assert (refused.code, "scope" in refused.err) == (6, True), refused
        assert here.agent("k")["lifecycle"] == "running"


@proves("CLIENT-012")
def test_a_template_says_what_its_agents_key_is_good_for() -> None:
    with host() as here:
        _template(here, scopes=["read"])
        here.ok("spawn", "-t", "keyed", "--name", "k")
        key = _key(here)

        assert here.run("ls", env={KEY: key}).code == 0
        assert here.run("lock", "acquire", "a.py", env={KEY: key}).code == 6


@proves("CLIENT-012")
def test_an_agent_that_leaves_its_key_out_is_the_agent_all_the_same_and_an_empty_key_is_nobodys() -> None:
    envmgr = str(Path(sys.executable).with_name("envmgr"))
    script = f"""
        env -u {KEY} {envmgr} whoami --json >left-out
        env -u {KEY} setsid -f sh -c '{envmgr} whoami --json >far.new; mv far.new far'
        {KEY}= {envmgr} whoami --json >empty 2>&1; echo $? >status.new; mv status.new status
        exec sleep 1000
    """
    with host() as here:
        _template(here, command=["sh", "-c", script])
        here.ok("spawn", "-t", "keyed", "--name", "k")
        agent = here.agent("k")
        tree = Path(agent["worktree"])

        eventually(lambda: (tree / "status").exists() and (tree / "far").exists(), within_s=20)

        ids = {name: json.loads((tree / name).read_text())["id"] for name in ("left-out", "far")}
        assert ids == {"left-out": agent["id"], "far": agent["id"]}
        assert (tree / "status").read_text().strip() == "6", (tree / "empty").read_text()
        # People are people, also where they run something in the agent's environment.
        assert here.ok("whoami", "--json").json["kind"] == "person"
        assert json.loads(here.ok("exec", "k", "--", envmgr, "whoami", "--json").out)["kind"] == "person"


@proves("CLIENT-020")
@pytest.mark.parametrize(
    ("tools", "expected"), [("compact", "--tools compact"), ("all", "--tools all"), ("off", None)]
)
def test_any_other_program_is_told_the_command_of_its_tools(tools: str, expected: str | None) -> None:
    with host() as here:
        _template(here, tools=tools)
        here.ok("spawn", "-t", "keyed", "--name", "k")

        told = _environments(here)["sleep 1000"].get("ENVMGR_MCP_COMMAND")

        assert told is None if expected is None else (told is not None and told.endswith(expected))
