"""What agents leave, who is here, and what is remembered: through the real command line and daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.host import SLEEPER, Host, git, host
from tests.support.requirements import proves
from tests.support.survive import kill_daemon, processes_of
from tests.support.wait import eventually

SKILLED = SLEEPER + "  capabilities: [review, python]\n"


# Whoever dies stays dead, and looks are frequent.
QUICK = {"ENVMGR_RECOVERY__ENABLED": "false", "ENVMGR_SESSIONS__PERIOD_S": "0.1"}


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with host(**QUICK) as fresh:
        fresh.template("sleeper", SKILLED.format(name="sleeper"))
        fresh.ok("daemon", "start")
        yield fresh


def handoffs(here: Host, agent: str) -> list[Any]:
    found: list[Any] = here.ok("handoff", "ls", agent, "--json").json["handoffs"]
    return found


def sessions(here: Host, *more: str) -> dict[str, Any]:
    return {one["agent"]: one for one in here.ok("discover", "--json", *more).json["agents"]}


@proves("HAND-003", "HAND-004", "SESS-004")
def test_a_stopped_agent_leaves_a_handoff_that_its_next_session_is_told(here: Host) -> None:
    here.ok("spawn", "--template", "sleeper", "--name", "otter")
    agent = here.agent("otter")
    tree = here.state / "agents" / agent["id"]
    assert sessions(here)["otter"]["capabilities"] == ["review", "python"]
    assert sorted(sessions(here, "--capability", "review")) == ["otter"]
    assert sessions(here, "--capability", "cooking") == {}

    here.ok("stop", "otter")
    (left,) = handoffs(here, "otter")
    here.ok("start", "otter")

    assert (left["kind"], left["branch"]) == ("stop", "agent/otter")
    assert left["head"] == git(here.repo, "rev-parse", "agent/otter").strip()
    assert left["handoff_id"] in (tree / "handoff-2.md").read_text()
    assert sessions(here)["otter"]["status"] in ("active", "idle")
    here.ok("handoff", "write", "All is well", "--next-steps", "rest", "--files", "index.html")
    assert "All is well" in here.ok("handoff", "show").out
    assert here.ok("handoff", "show", "--agent", "otter", "--json").json["handoffs"] == [left]
    here.ok("rm", "otter", "--stop", "--yes")


@proves("HAND-005", "SESS-003")
def test_an_agent_that_is_killed_while_no_daemon_runs_has_left_a_handoff_and_is_no_session_any_more() -> None:
    with host(**QUICK) as here:
        here.sleeper()
        here.ok("spawn", "--template", "sleeper", "--name", "heron")
        agent = here.agent("heron")
        eventually(lambda: "heron" in sessions(here))
        kill_daemon(here)
        for process in processes_of(here, agent, "assistant"):
            process.kill()

        here.ok("daemon", "start")

        eventually(lambda: handoffs(here, "heron"), within_s=15)
        (left,) = handoffs(here, "heron")
        assert left["kind"] == "crash"
        eventually(lambda: "heron" not in sessions(here))
        assert sessions(here, "--status", "dead")["heron"]["reason"]


@proves("MEM-001", "MEM-004", "MEM-009")
def test_people_remember_search_and_forget(here: Host) -> None:
    first = here.ok(
        "memory",
        "add",
        "The web tests need port 8080",
        "--tags",
        "tests",
        "--files",
        "tests/web.py",
        "--json",
    ).json
    again = here.ok("memory", "add", "the WEB tests need port 8080!", "--json").json
    assert (again["memory_id"], again["deduplicated"]) == (first["memory_id"], True)

    better = here.ok(
        "memory", "add", "The web tests choose their port", "--supersedes", first["memory_id"], "--json"
    ).json
    assert better["superseded"] == first["memory_id"]
    found = here.ok("memory", "search", "which port do web tests use", "--json").json
    assert [one["memory_id"] for one in found["memories"]] == [better["memory_id"]]
    assert better["memory_id"] in found["text"]
    assert first["memory_id"] in here.ok("memory", "ls", "--superseded").out

    unsure = here.run("memory", "forget", better["memory_id"])
    assert (unsure.code, "--yes" in unsure.err, "The web tests choose" in unsure.err) == (2, True, True)
    assert here.run("memory", "forget", "m-999999").code == 4
    here.ok("memory", "forget", better["memory_id"], "--yes")
    assert here.run("memory", "forget", better["memory_id"], "--yes").code == 4
    assert here.run("memory", "search", "x", "--limit", "0").code == 2
    assert here.run("memory", "add", "a" * 100_000).code == 2
    assert here.run("memory", "add", "x", "--files", "../../etc/passwd").code == 2
    assert here.run("memory", "add", "x", "--files", "/etc/passwd").code == 2


@proves("SESS-002", "SESS-005")
def test_a_person_can_register_and_hears_what_to_know(here: Host) -> None:
    here.ok("session", "register", "--capabilities", "design", "--note", "at lunch")

    assert [one["note"] for one in sessions(here, "--capability", "design").values()] == ["at lunch"]
    beat = here.ok("session", "heartbeat", "--status", "idle", "--json").json
    assert (beat["ok"], beat["status"], beat["must_stop"]) == (True, "idle", False)
