"""Containers and their engine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.chaos.trial import WORLD, Trial
from tests.support.docker import BASE, REDIS, engine
from tests.support.own_engine import TINY, own_engine
from tests.support.requirements import proves
from tests.support.wait import eventually

Begin = Callable[..., AbstractContextManager[Trial]]
STORE = WORLD.replace(
    "agent:",
    f"""  store:
    image: {REDIS}
    ports: {{tcp: {{container: 6379}}}}
    volumes: ["data:/data"]
    ready: {{exec: [redis-cli, ping], inside: true, period: 300ms}}
    restart: {{initial: 100ms}}
agent:""",
)
GREEDY = WORLD.replace(
    "agent:",
    f"""  greedy:
    image: {BASE}
    command: [sh, -c, "while [ ! -e /work/eat ]; do sleep 0.1; done; rm /work/eat; cat /dev/zero | tail -c 200m"]
    volumes: [".:/work"]
    limits: {{memory: 32MB}}
    restart: {{initial: 100ms}}
agent:""",
)
TICKING = WORLD.replace(
    "agent:",
    f"""  ticks:
    image: {TINY}
    command: [sleep, "1000"]
    networks: []
    restart: {{initial: 100ms}}
agent:""",
)


def container(here: Trial, unit: str) -> Any:
    wanted = {"label": [f"envmgr.agent={here.agent['id']}", f"envmgr.service={unit}"]}
    (one,) = engine().containers.list(all=True, filters=wanted)
    return one


@proves("FAULT-004")
def test_a_killed_container_is_started_again_with_its_data(begin_trial: Begin) -> None:
    with begin_trial("kill -9 of a container", STORE) as here:
        store = container(here, "store")
        assert store.exec_run(["redis-cli", "set", "k", "kept"]).exit_code == 0
        assert store.exec_run(["redis-cli", "save"]).exit_code == 0
        store.kill()
        here.struck()

        here.well_again(
            lambda _: container(here, "store").status == "running",
            outcome="started again by its restart policy",
        )
        assert container(here, "store").exec_run(["redis-cli", "get", "k"]).output.strip() == b"kept"
        here.lost = "what it had not written to its volume"


@proves("FAULT-004")
def test_a_container_at_its_memory_limit_gets_one_step_more(begin_trial: Begin) -> None:
    with begin_trial("memory limit hit", GREEDY) as here:
        (here.worktree / "eat").touch()
        eventually(lambda: not (here.worktree / "eat").exists(), within_s=20)
        here.struck()

        here.well_again(
            lambda _: container(here, "greedy").attrs["HostConfig"]["Memory"] > 32_000_000,
            outcome="out of memory: rung 3, limit raised by half, once",
        )
        here.lost = "what the container had in memory"


@proves("FAULT-004", "R-33")
@pytest.mark.timeout(120)
def test_a_killed_engine_is_waited_for(begin_trial: Begin) -> None:
    with own_engine() as own, begin_trial("kill -9 of dockerd", TICKING, DOCKER_HOST=own.host) as here:
        own.kill()
        eventually(
            lambda: any(c["subject"] == "engine" for c in here.host.agent("a")["conditions"]), within_s=20
        )
        own.start()
        here.struck()

        asked = ["docker", "--host", own.host, "ps", "--quiet"]
        here.well_again(
            lambda _: len(subprocess.run(asked, capture_output=True, check=True).stdout.split()) == 1,
            outcome="unknown, nothing done; when it is back its containers run again",
            within_s=60,
        )
        here.lost = "what its containers had in memory"
