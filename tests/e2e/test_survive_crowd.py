"""Many spawns at once: all of them come up, none shares anything, and one command ends them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import remains, sessions
from tests.support.wait import eventually

SERVED = """
envmgr: 1
services:
  web:
    command: exec python3 -S -c "import os,socket,time; s=socket.create_server(('127.0.0.1', int(os.environ['PORT']))); time.sleep(1000)"
    ports: [http, admin]
    env: {PORT: "${ports.http}"}
    ready: {tcp: {port: http}, period: 60s}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host(ENVMGR_HOST__MIN_FREE_MEMORY_BYTES="0") as here:
        here.template("served", SERVED)
        yield here


@proves("CROWD-001", "R-5", "R-32")
@pytest.mark.timeout(180)
def test_thirty_spawns_at_once_all_come_up_with_ports_of_their_own_and_leave_nothing(here: Host) -> None:
    many = here.start("spawn", "-t", "served", "--name", "many", "-n", "20")
    singles = [here.start("spawn", "-t", "served", "--name", f"single{n}") for n in range(10)]
    said = [command.communicate(timeout=120) for command in (many, *singles)]

    assert [command.returncode for command in (many, *singles)] == [0] * 11, said
    agents = here.agents()
    assert len(agents) == 30
    assert {agent["lifecycle"] for agent in agents.values()} == {"running"}
    ports = [port for agent in agents.values() for port in agent["services"][0]["ports"].values()]
    assert len(set(ports)) == len(ports) == 60
    assert len({agent["worktree"] for agent in agents.values()}) == len(here.worktrees()) == 30
    assert len(sessions(here)) == 30
    assert "lock" not in here.daemon_log()

    here.ok("stop", "--all")
    assert [x for x in remains(here) if not x.startswith(("worktree", "branch"))] == []
    here.ok("rm", "--all", "--yes")
    assert remains(here) == []
    here.ok("down", "--agents")
    eventually(lambda: here.leftovers() == [])
