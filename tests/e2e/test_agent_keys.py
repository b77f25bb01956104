"""An agent's key: new at each start, in its assistant's environment only, good across daemons, worthless after a stop."""

from __future__ import annotations

import json
import os
import shutil
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


@proves("CLIENT-013", "CLIENT-012")
def test_an_agent_finds_envmgr_where_the_persons_path_has_none_and_is_itself_there(tmp_path: Path) -> None:
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(one for one in folders if not (Path(one) / "envmgr").exists())
    with host(PATH=path) as here:
        line = "envmgr lock acquire src/app.py > said 2>&1; command -v python3 > python; exec sleep 1000"
        _template(here, command=["sh", "-c", line])
        here.ok("spawn", "-t", "keyed", "--name", "k")
        agent = here.agent("k")

        eventually(lambda: (Path(agent["worktree"]) / "python").exists(), within_s=30)

        held = here.ok("lock", "ls", "--json").json["locks"]
        assert [one["holder_id"] for one in held] == [agent["id"]]
        python = (Path(agent["worktree"]) / "python").read_text(encoding="utf-8").strip()
        assert python == (shutil.which("python3", path=path) or "")
        paths = {command: variables["PATH"] for command, variables in _environments(here).items()}
        assert paths["sleep 2000"] == f"{path}:{here.state / 'bin'}"


@proves("CLIENT-014")
def test_who_runs_a_command_in_an_agents_environment_stays_who_they_are() -> None:
    with host() as here:
        _template(here)
        here.ok("spawn", "-t", "keyed", "--name", "k")
        key = here.ok("key", "create", "ci", "--scopes", "read,operate", "--json").json["key"]
        whoami = ("exec", "k", "--", sys.executable, "-m", "envmgr", "whoami", "--json")

        person, program = here.ok(*whoami).json, here.run(*whoami, env={KEY: key}).json

        assert (person["kind"], person["agent"]) == ("person", "")
        assert (program["id"], program["scopes"]) == ("program:ci", ["read", "operate"])


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
