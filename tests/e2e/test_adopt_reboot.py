"""The machine was restarted: agents that ran come back, few at a time, in the order of their last activity."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.docker import engine, existing
from tests.support.engine_proxy import door
from tests.support.host import Host, host
from tests.support.reboots import reboot
from tests.support.requirements import proves
from tests.support.survive import agent_when, answers, kill_daemon, processes_of
from tests.support.wait import eventually

WEB = """
envmgr: 1
services:
  web:
    command: exec python3 -S -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    env: {PORT: "${ports.http}"}
    ready: {tcp: {port: http}, period: 300ms}
agent: {kind: command, command: [sleep, '1000']}
"""


pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        here.template("web", WEB)
        here.sleeper()
        yield here


def runs_anew(here: Host, name: str, *, generation: int = 2) -> Any:
    def is_back(agent: Any) -> bool:
        return (agent["lifecycle"], agent["generation"], agent["conditions"]) == ("running", generation, [])

    return agent_when(here, name, is_back, within_s=60)


@proves("REBOOT-001", "REBOOT-002", "R-21")
def test_after_a_reboot_what_ran_runs_again_with_its_work_and_its_port(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "ran")
    here.ok("spawn", "-t", "sleeper", "--name", "stopped")
    here.ok("stop", "stopped")
    before = here.agent("ran")
    (Path(before["worktree"]) / "draft").write_text("unsaved", encoding="utf-8")
    reboot(here)

    after = runs_anew(here, "ran")

    assert (Path(after["worktree"]) / "draft").read_text(encoding="utf-8") == "unsaved"
    assert after["services"][0]["ports"] == before["services"][0]["ports"]
    assert answers(after["services"][0]["ports"]["http"])
    assert here.agent("stopped")["lifecycle"] == "stopped"
    assert "host.restarted" in [event["kind"] for event in here.events()]


@proves("REBOOT-002", "R-30")
def test_agents_come_back_few_at_a_time_and_show_that_they_wait(here: Host) -> None:
    here.env["ENVMGR_RECOVERY__RESTORE_AT_ONCE"] = "1"
    here.template("slow", WEB.replace("exec python3", "sleep 1; exec python3"))
    for name in ("first", "second", "third"):
        here.ok("spawn", "-t", "slow", "--name", name)
    reboot(here)

    shown = here.ok("ls").out
    waiting = here.agents()

    assert "restoring" in shown
    assert {
        a["name"] for a in waiting.values() if any(c["type"] == "Restoring" for c in a["conditions"])
    } >= {
        "first",
        "second",
    }
    for name in ("first", "second", "third"):
        runs_anew(here, name)
    begun = [e["name"] for e in here.events() if e["kind"] == "agent.spawning" and e["generation"] == 2]
    assert begun == ["third", "second", "first"], "who was active last comes first"
    kinds = [
        e["kind"]
        for e in here.events()
        if e["kind"] in ("agent.spawning", "agent.running") and e["generation"] == 2
    ]
    assert kinds == ["agent.spawning", "agent.running"] * 3, "one at a time"


@proves("REBOOT-002", "R-30")
def test_who_finds_no_room_after_a_reboot_waits_for_it(here: Host) -> None:
    for name in ("a", "b"):
        here.ok("spawn", "-t", "sleeper", "--name", name)
    reboot(here)
    here.env |= {"ENVMGR_HOST__MAX_AGENTS": "1", "ENVMGR_RECOVERY__RESTORE_AT_ONCE": "1"}

    runs_anew(here, "b")
    waiting = agent_when(here, "a", lambda agent: "waits for room" in str(agent["conditions"]))
    assert waiting["lifecycle"] == "stopped"

    here.ok("stop", "b")
    runs_anew(here, "a")


@proves("REBOOT-001", "R-29")
@pytest.mark.parametrize("words", [["stop", "a"], ["stop", "a", "--no-wait"]])
def test_a_stop_wins_over_a_restore(here: Host, words: list[str]) -> None:
    here.ok("spawn", "-t", "sleeper", "--name", "a")
    here.ok("spawn", "-t", "sleeper", "--name", "b")
    reboot(here)
    here.env |= {"ENVMGR_HOST__MAX_AGENTS": "1", "ENVMGR_RECOVERY__RESTORE_AT_ONCE": "1"}
    runs_anew(here, "b")
    agent_when(here, "a", lambda agent: "waits for room" in str(agent["conditions"]))

    here.ok(*words)
    here.ok("stop", "b")

    eventually(lambda: here.agent("a")["conditions"] == [], within_s=30)
    assert (here.agent("a")["lifecycle"], here.agent("a")["generation"]) == ("stopped", 1)


@proves("REBOOT-001")
def test_when_a_person_is_to_be_asked_nothing_starts_by_itself(here: Host) -> None:
    here.env["ENVMGR_RECOVERY__AFTER_REBOOT"] = "ask"
    here.ok("spawn", "-t", "web", "--name", "a")
    reboot(here)

    asked = agent_when(here, "a", lambda a: a["lifecycle"] == "stopped" and not a["conditions"], within_s=60)

    assert "the machine was restarted" in asked["reason"]
    assert "envmgr start a" in str(eventually(lambda: [e for e in here.events() if e["kind"] == "notice"]))
    here.ok("start", "a")
    assert (here.agent("a")["lifecycle"], here.agent("a")["generation"]) == ("running", 2)


@proves("REBOOT-003")
@pytest.mark.parametrize(
    "point", ["reboot-released", "reboot-starting", "spawn-accepted", "spawn-before-commit"]
)
def test_a_daemon_killed_in_the_middle_of_restoring_leaves_it_to_the_next_one(here: Host, point: str) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    reboot(here)

    here.run("ls", env={"ENVMGR_CRASH_AT": point})
    eventually(lambda: not daemon_lives(here), within_s=60)

    def is_back(agent: Any) -> bool:
        return agent["lifecycle"] == "running" and agent["generation"] > 1 and not agent["conditions"]

    agent = agent_when(here, "a", is_back, within_s=60)
    assert len(processes_of(here, agent, part="service:web")) == 1
    assert len(processes_of(here, agent, part="assistant")) == 1


def daemon_lives(here: Host) -> bool:
    try:
        pid = int((here.state / "daemon.lock").read_text(encoding="utf-8"))
        os.kill(pid, 0)
    except (ValueError, ProcessLookupError):
        return False
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@proves("REBOOT-001", "R-31")
def test_the_same_boot_is_no_reboot(here: Host) -> None:
    here.ok("spawn", "-t", "web", "--name", "a")
    pids = {p.pid for p in processes_of(here, here.agent("a"))}
    kill_daemon(here)

    agent = here.agent("a")

    assert (agent["lifecycle"], agent["generation"]) == ("running", 1)
    assert {p.pid for p in processes_of(here, agent)} == pids


# --- with containers ----------------------------------------------------------------------------------------

BOXED = """
envmgr: 1
services:
  web:
    image: envmgr-test/base
    command: [sleep, '1000']
    init: true
agent: {kind: command, command: [sleep, '1000']}
"""


@proves("REBOOT-002", "R-33")
def test_after_a_reboot_an_engine_that_comes_up_late_is_waited_for_and_keeps_nobody_else_down(
    tmp_path: Path,
) -> None:
    with door(tmp_path / "d") as entrance, host(DOCKER_HOST=entrance.url) as here:
        here.env["ENVMGR_RECOVERY__RESTORE_AT_ONCE"] = "1"
        here.template("boxed", BOXED)
        here.sleeper()
        here.ok("spawn", "-t", "sleeper", "--name", "b")
        here.ok("spawn", "-t", "boxed", "--name", "a")
        labels = {"envmgr.agent": here.agent("a")["id"]}
        (before,) = engine().containers.list(filters={"label": [f"{k}={v}" for k, v in labels.items()]})
        before.kill()
        reboot(here)
        entrance.shut()

        agent_when(
            here, "a", lambda agent: "waits for the container engine" in str(agent["conditions"]), within_s=60
        )
        runs_anew(here, "b")
        assert here.agent("a")["generation"] == 1
        entrance.open()

        runs_anew(here, "a")
        assert before.name not in str(existing(labels)), "what the old generation had is gone"
        assert len([one for one in existing(labels) if one.startswith("container")]) == 1
