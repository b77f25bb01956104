"""Agents that go by themselves after their stop, and those that never do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_BRIEF = """\
envmgr: 1
gc: {after_stop: 1s}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        yield here


def _names(here: Host) -> set[str]:
    return {agent["name"] for agent in here.ok("ls", "--json").json["agents"]}


@proves("LIFE-013")
def test_a_stopped_agent_goes_by_itself_unless_it_holds_work_and_undo_brings_it_back(here: Host) -> None:
    here.sleeper()
    here.template("brief", _BRIEF)
    for name in ("clean", "busy", "running"):
        here.ok("spawn", "-t", "brief", "--name", name)
    here.ok("spawn", "-t", "sleeper", "--name", "patient")
    worktree = Path(here.agent("clean")["worktree"])
    (Path(here.agent("busy")["worktree"]) / "new").write_text("work\n")
    here.ok("stop", "clean", "busy", "patient")

    eventually(lambda: "clean" not in _names(here), within_s=20)

    assert _names(here) == {"busy", "running", "patient"}
    assert not worktree.exists()
    kinds = [event["kind"] for event in here.events()]
    assert kinds.count("agent.expired") == 1
    assert kinds.index("agent.expired") < kinds.index("agent.removed")
    here.ok("undo", "clean")
    assert worktree.exists()
