"""Restart and scale services that run in containers."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.docker import REDIS, WEB, engine
from tests.support.host import Host, host
from tests.support.replicated import service, template
from tests.support.requirements import proves
from tests.support.wait import eventually

SHOP = f"""
store:
  image: {REDIS}
  ports: {{tcp: {{container: 6379}}}}
  ready: {{exec: [redis-cli, ping], inside: true}}
  restart: {{policy: always, initial: 100ms}}
web:
  image: {WEB}
  ports: {{http: {{container: 80}}}}
  ready: {{http: {{port: http, path: /}}}}
  replicas: 2
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.template("shop", template("shop", SHOP))
        here.ok("spawn", "-t", "shop", "--name", "otter")
        yield here


def container(here: Host, unit: str) -> Any:
    return engine().containers.get(f"envmgr-{here.agent('otter')['id']}-g1-{unit}")


def units(here: Host) -> list[str]:
    """Those that have a container on the engine, whether it runs or not."""
    wanted = {"label": f"envmgr.agent={here.agent('otter')['id']}"}
    return sorted(one.labels["envmgr.service"] for one in engine().containers.list(all=True, filters=wanted))


def get(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return int(answer.status)


@proves("SVC-CASE-CONTAINER")
def test_restart_keeps_the_container(shared: Host) -> None:
    before = container(shared, "store")
    assert before.exec_run(["sh", "-c", "echo kept > /tmp/note"]).exit_code == 0
    port = service(shared, "otter", "store")["ports"]["tcp"]
    shared.ok("restart", "otter", "store")
    after = container(shared, "store")
    assert after.id == before.id
    assert after.attrs["State"]["StartedAt"] != before.attrs["State"]["StartedAt"]
    assert after.exec_run(["cat", "/tmp/note"]).output == b"kept\n"
    assert after.exec_run(["redis-cli", "ping"]).output == b"PONG\n"
    assert service(shared, "otter", "store")["ports"]["tcp"] == port


@proves("RESTART-008")
def test_a_container_that_dies_comes_back_by_its_policy(shared: Host) -> None:
    before = container(shared, "store")
    os.kill(before.attrs["State"]["Pid"], 9)
    eventually(
        lambda: container(shared, "store").attrs["State"]["StartedAt"] != before.attrs["State"]["StartedAt"]
    )
    eventually(lambda: service(shared, "otter", "store")["state"] == "ready")
    told = [e["data"] for e in shared.events("otter") if e["kind"] == "service.restarting"]
    assert [(one["service"], one["attempt"]) for one in told] == [("store", 1)]


@proves("REPL-012")
def test_containers_are_scaled_behind_a_balancer_and_found_by_one_name(shared: Host) -> None:
    port = service(shared, "otter", "web")["ports"]["http"]
    assert [get(port) for _ in range(4)] == [200] * 4
    first = {unit: container(shared, unit).id for unit in ("web-0", "web-1")}
    shared.ok("scale", "otter", "web=3")
    assert units(shared) == ["store", "web-0", "web-1", "web-2"]
    assert [get(port) for _ in range(6)] == [200] * 6
    found = container(shared, "store").exec_run(
        ["sh", "-c", "getent ahostsv4 web | awk '{print $1}' | sort -u"]
    )
    assert len(found.output.split()) == 3
    shared.ok("scale", "otter", "web=2")
    assert units(shared) == ["store", "web-0", "web-1"]
    assert {unit: container(shared, unit).id for unit in first} == first
    shared.ok("restart", "otter", "web")
    assert {unit: container(shared, unit).id for unit in first} == first
    assert [get(port) for _ in range(4)] == [200] * 4
