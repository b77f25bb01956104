"""An assistant that breaks the program it works on, and mends it, with everything real."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.git import git, write
from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import kill_daemon, processes_of
from tests.support.wait import eventually

GOOD = "import time; time.sleep(1000)\n"
DEVELOPED = """envmgr: 1
name: developed
agent:
  kind: command
  command: [sleep, '1000']
services:
  api:
    command: exec python3 app.py
    restart: {policy: on-failure, initial: 50ms, jitter: 0, budget: 3/10m}
  odd:
    command: 'exec sleep 2000'
recovery: {stabilize: 500ms, delays: {session: 0s, realloc: 0s, respawn: 0s}}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host(ENVMGR_RECOVERY__LOOK_S="0.1", ENVMGR_RECOVERY__COOL_DOWN_S="300") as here:
        write(here.repo, {"app.py": GOOD})
        git(here.repo, "add", "app.py")
        git(here.repo, "commit", "-q", "-m", "an app")
        here.template("tried", DEVELOPED)
        here.ok("spawn", "--template", "tried", "--name", "otter")
        yield here


def running(here: Host, part: str) -> list[int]:
    return [process.pid for process in processes_of(here, here.agent("otter"), part=part)]


def open_incidents(here: Host) -> list[Any]:
    known = here.ok("incidents", "--open", "--json").json["incidents"]
    return [one for one in known if one["service"] == "api"]


def rungs(here: Host) -> set[str]:
    known = here.ok("incidents", "--json").json["incidents"]
    return {climb["rung"] for one in known for climb in one["climbs"]}


@proves("RECOVER-028", "RECOVER-029", "RECOVER-030")
def test_a_program_that_an_edit_broke_comes_back_when_it_is_mended_and_nothing_else_is_touched(
    here: Host,
) -> None:
    others = running(here, "assistant") + running(here, "service:odd")
    file = Path(here.agent("otter")["worktree"]) / "app.py"
    file.write_text("def\n", encoding="utf-8")
    (api,) = running(here, "service:api")
    os.kill(api, signal.SIGKILL)
    eventually(lambda: "service.gave_up" in [event["kind"] for event in here.events()], within_s=30)
    eventually(lambda: [one["failure"] for one in open_incidents(here)] == ["crash"])
    kill_daemon(here)

    eventually(lambda: len(open_incidents(here)) == 1, within_s=20)
    assert here.agent("otter")["lifecycle"] == "running"
    file.write_text(GOOD, encoding="utf-8")
    eventually(lambda: len(running(here, "service:api")) == 1, within_s=20)

    assert rungs(here) <= {"wait", "service"}
    assert here.agent("otter")["generation"] == 1
    assert running(here, "assistant") + running(here, "service:odd") == others


@proves("RECOVER-033")
def test_an_agent_that_is_well_is_not_recovered(here: Host) -> None:
    before = running(here, "assistant") + running(here, "service:api")
    assert here.ok("recover", "otter").out == "otter: nothing is wrong.\n"
    assert running(here, "assistant") + running(here, "service:api") == before
    assert here.ok("incidents", "--json").json["incidents"] == []
