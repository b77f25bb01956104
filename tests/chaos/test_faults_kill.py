"""SIGKILL of everything an agent stands on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import psutil

from tests.chaos.trial import WORLD, Trial
from tests.support.requirements import proves
from tests.support.survive import is_alive, keeper_pid, kill_daemon, processes_of, tmux_server
from tests.support.wait import eventually

Begin = Callable[..., AbstractContextManager[Trial]]


def kill(pid: int) -> None:
    psutil.Process(pid).kill()
    eventually(lambda: not is_alive(pid))


@proves("FAULT-001", "R-14")
def test_a_killed_service_is_started_again(begin_trial: Begin) -> None:
    with begin_trial("kill -9 of a service") as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        kill(web.pid)
        here.struck()

        here.well_again(
            lambda agent: [p.pid for p in processes_of(here.host, agent, part="service:web")] != [web.pid],
            outcome="started again by its restart policy",
        )
        here.lost = "what the service had in memory"


@proves("FAULT-001")
def test_a_killed_keeper_leaks_no_child_and_its_services_come_back(begin_trial: Begin) -> None:
    with begin_trial("kill -9 of the keeper") as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        keeper = keeper_pid(here.host, here.agent)
        kill(keeper)
        here.struck()

        here.well_again(
            lambda agent: keeper_pid(here.host, agent) != keeper and not is_alive(web.pid),
            outcome="its services ended and started again under a new keeper",
        )
        here.lost = "what its services had in memory"


@proves("FAULT-001")
def test_a_killed_assistant_comes_back_in_a_new_session(begin_trial: Begin) -> None:
    with begin_trial("kill -9 of the assistant") as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        for process in processes_of(here.host, here.agent, part="assistant"):
            kill(process.pid)
        here.struck()

        here.well_again(
            lambda agent: processes_of(here.host, agent, part="assistant"),
            outcome="rung 2: session made anew",
        )
        assert is_alive(web.pid), "services are untouched"
        here.lost = "what the assistant had in memory"


@proves("FAULT-001", "R-12")
def test_a_killed_terminal_server_costs_no_service(begin_trial: Begin) -> None:
    with begin_trial("kill -9 of the tmux server") as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        server = tmux_server(here.host)
        kill(server.pid)
        here.struck()

        here.well_again(
            lambda agent: processes_of(here.host, agent, part="assistant"),
            outcome="rung 2: server and session made anew",
        )
        assert is_alive(web.pid), "services are untouched"
        here.lost = "what the assistant had in memory, scrollback"


@proves("FAULT-001", "R-29")
def test_a_killed_daemon_costs_nothing(begin_trial: Begin) -> None:
    with begin_trial("kill -9 of the daemon") as here:
        before = {p.pid for p in processes_of(here.host, here.agent)}
        kill_daemon(here.host)
        here.struck()

        here.well_again(outcome="everything adopted by the next daemon")
        assert {p.pid for p in processes_of(here.host, here.agent)} >= before


WRAPPED = WORLD.replace("command: [sleep, '100000']", 'command: "sleep 1000 & sleep 1000; true"')


@proves("FAULT-001", "R-13")
def test_a_killed_shell_of_the_assistant_leaves_no_child(begin_trial: Begin) -> None:
    with begin_trial("kill -9 of the assistant's shell", WRAPPED) as here:
        old = processes_of(here.host, here.agent, part="assistant")
        (shell,) = [p for p in old if p.ppid() not in {other.pid for other in old}]
        kill(shell.pid)
        here.struck()

        here.well_again(
            lambda agent: processes_of(here.host, agent, part="assistant"),
            outcome="rung 2: what it had started is ended, session made anew",
        )
        assert not [p for p in old if is_alive(p.pid)]
        here.lost = "what the assistant had in memory"
