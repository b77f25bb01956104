"""What does not answer is not gone: SIGSTOP of what an agent stands on, and of what watches it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import psutil

from tests.chaos.trial import WORLD, Trial
from tests.support.requirements import proves
from tests.support.survive import frozen, is_alive, processes_of, tmux_server
from tests.support.wait import eventually

Begin = Callable[..., AbstractContextManager[Trial]]
ALIVE = WORLD.replace(
    "restart: {initial: 100ms}",
    "restart: {initial: 100ms}\n    live: {http: {port: http}, period: 300ms, timeout: 300ms, down: 2, grace: 0s}",
)


def unobservable(agent: dict[str, list[dict[str, str]]]) -> list[str]:
    return [c["subject"] for c in agent["conditions"] if c["type"] == "Unobservable"]


@proves("FAULT-002", "R-15", "R-17")
def test_a_frozen_terminal_server_is_unknown_and_nothing_is_concluded(begin_trial: Begin) -> None:
    with begin_trial("SIGSTOP of the tmux server") as here:
        before = {p.pid for p in processes_of(here.host, here.agent)}
        with frozen(tmux_server(here.host)):
            eventually(lambda: "tmux" in unobservable(here.host.agent("a")), within_s=20)
            assert here.host.agent("a")["lifecycle"] == "running"
        here.struck()

        here.well_again(
            lambda agent: not unobservable(agent), outcome="unknown, nothing done; seen again when it answers"
        )
        assert {p.pid for p in processes_of(here.host, here.agent)} >= before


@proves("FAULT-002")
def test_a_frozen_service_is_killed_and_started_again(begin_trial: Begin) -> None:
    with begin_trial("SIGSTOP of a service", ALIVE) as here:
        (web,) = processes_of(here.host, here.agent, part="service:web")
        web.suspend()
        here.struck()

        here.well_again(lambda _: not is_alive(web.pid), outcome="liveness fails: killed, started again")
        here.lost = "what the service had in memory"


@proves("FAULT-002", "R-29")
def test_a_frozen_daemon_delays_and_loses_nothing(begin_trial: Begin) -> None:
    with begin_trial("SIGSTOP of the daemon") as here:
        pid = here.host.daemon_pid()
        assert pid is not None
        (web,) = processes_of(here.host, here.agent, part="service:web")
        with frozen(psutil.Process(pid)):
            web.kill()
            eventually(lambda: not is_alive(web.pid))
        here.struck()

        here.well_again(
            lambda agent: processes_of(here.host, agent, part="service:web"),
            outcome="a service that was killed meanwhile is started again when it goes on",
        )
        here.lost = "what that service had in memory"
        assert here.host.daemon_pid() == pid
