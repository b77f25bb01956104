"""The daemon is killed at each point of a recovery; the next one goes on, and nothing is done twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import processes_of
from tests.support.wait import eventually

HURT = """envmgr: 1
name: hurt
agent:
  kind: command
  command: [sleep, '1000']
recovery: {stabilize: 300ms, delays: {session: 0s}}
"""
POINTS = [
    "recover-recorded",
    "recover-chosen",
    "recover-owed",
    "recover-before-act",
    "recover-acted",
    "recover-settled",
    "recover-held",
]


@proves("RECOVER-017")
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_daemon_s_successor_finishes_the_recovery(point: str) -> None:
    with host(ENVMGR_RECOVERY__LOOK_S="0.1") as here:
        here.template("hurt", HURT)
        here.env["ENVMGR_CRASH_AT"] = point
        here.ok("spawn", "--template", "hurt", "--name", "otter")
        daemon = here.daemon_pid()
        (assistant,) = processes_of(here, here.agent("otter"), part="assistant")
        os.kill(assistant.pid, signal.SIGKILL)
        eventually(lambda: not _lives(daemon), within_s=30)
        del here.env["ENVMGR_CRASH_AT"]

        eventually(lambda: _outcome(here) == "held", within_s=60)
        (incident,) = here.ok("incidents", "--json").json["incidents"]
        assert {climb["rung"] for climb in incident["climbs"]} == {"session"}
        assert len(processes_of(here, here.agent("otter"), part="assistant")) == 1
        assert (here.agent("otter")["lifecycle"], here.agent("otter")["generation"]) == ("running", 1)


def _outcome(here: Host) -> str:
    known = here.ok("incidents", "--json").json["incidents"]
    return str(known[0]["climbs"][-1]["outcome"]) if known and known[0]["climbs"] else ""


def _lives(pid: int | None) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
