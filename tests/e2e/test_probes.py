"""Services that run and do not work: noticed by their probes, ended and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import patients
from tests.support.host import Host, host
from tests.support.replicated import service, template
from tests.support.requirements import proves
from tests.support.wait import eventually

WEB = f"""
web:
  command: exec {sys.executable} patient.py
  ports: [http]
  ready: {{http: /ready, period: 100ms}}
  live: {{http: /live, period: 100ms, timeout: 500ms, down: 3, grace: 100ms}}
  stop: {{grace: 200ms}}
  restart: {{policy: on-failure, initial: 50ms, jitter: 0, budget: 2/10m}}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        patients.admit(here)
        yield here


def spawn(here: Host, services: str = WEB) -> Path:
    """Returns the worktree."""
    here.template("tried", template("tried", services))
    here.ok("spawn", "--template", "tried", "--name", "otter")
    return Path(here.agent("otter")["worktree"])


def told(here: Host, kind: str) -> list[Any]:
    return [event["data"] for event in here.events() if event["kind"] == kind]


def looks(here: Host, metric: str) -> list[Any]:
    return [s for s in here.ok("health", "otter", "--json").json["series"] if s["metric"] == metric]


@proves("PROBE-006")
def test_a_service_that_stays_sick_is_restarted_exactly_as_often_as_its_budget_says(here: Host) -> None:
    tree = spawn(here)
    assert len(patients.launches(tree)) == 1
    (tree / "no-live").touch()

    (gave_up,) = eventually(lambda: told(here, "service.gave_up"), within_s=20)

    assert gave_up["reason"].startswith("it runs and does not answer: GET /live answered 503")
    assert [one["attempt"] for one in told(here, "service.restarting")] == [1, 2]
    assert len(patients.launches(tree)) == 3
    seen = len(looks(here, "probe.live"))
    eventually(lambda: len(looks(here, "probe.live")) >= seen + 6)
    assert len(patients.launches(tree)) == 3


@proves("PROBE-006")
def test_a_frozen_service_is_killed_and_comes_back(here: Host) -> None:
    tree = spawn(here)
    (first,) = patients.launches(tree)
    os.kill(first, signal.SIGSTOP)

    eventually(lambda: not patients.is_alive(first), within_s=20)
    eventually(lambda: service(here, "otter", "web")["state"] == "ready")

    assert len(patients.launches(tree)) == 2
    assert "no answer in time" in told(here, "service.restarting")[0]["why"]


@proves("PROBE-009")
def test_health_shows_how_a_service_is_and_has_been(here: Host) -> None:
    tree = spawn(here)
    eventually(lambda: len(looks(here, "probe.ready")) >= 5)
    (tree / "no-ready").touch()
    eventually(lambda: service(here, "otter", "web")["state"] == "failed")

    shown = here.ok("health", "otter", "--json").json
    (web,) = shown["services"]
    assert (web["name"], web["state"], web["probes"]) == ("web", "failed", ["ready", "live"])
    assert web["detail"] == "GET /ready answered 503"
    assert 0 < web["ready_rate"] < 1 == web["live_rate"]
    assert 0 < web["latency_p50_s"] <= web["latency_p95_s"] < 2
    assert {one["metric"] for one in shown["series"]} == {"probe.ready", "probe.live", "probe.latency_s"}
    assert all(shown["since_at"] <= one["at"] <= shown["at"] for one in shown["series"])

    page = here.ok("health", "otter", "web", "--since", "5m").out
    assert page.startswith("web  ✖ failed for ")
    assert "█" in page
    assert "(GET /ready answered 503)" in page


@proves("PROBE-009")
def test_health_of_what_is_not_there_says_what_is(here: Host) -> None:
    spawn(here)
    ran = here.run("health", "otter", "wed")
    assert (ran.code, ran.err) == (4, "error: otter has no service wed\nhint:  There are: web.\n")
    assert here.run("health", "otter", "--since", "soon").code == 2


# Its listener is a child whose end it does not notice.
WRAPPED = f"""
web:
  command: "{sys.executable} patient.py & echo $! > no-listener; wait; exec sleep 1000"
  ports: [http]
  ready: {{http: /ready, period: 100ms}}
  stop: {{grace: 200ms}}
"""


@proves("PROBE-005")
def test_a_squatter_who_answers_200_enters_at_rung_3_and_is_left_alone(here: Host) -> None:
    tree = spawn(here, WRAPPED)
    port = service(here, "otter", "web")["ports"]["http"]
    os.kill(int((tree / "no-listener").read_text()), signal.SIGKILL)
    with answering(port) as stranger:
        (incident,) = eventually(lambda: here.ok("incidents", "--json").json["incidents"], within_s=20)
        assert (incident["failure"], incident["service"]) == ("port_conflict", "web")
        assert f"pid {stranger}" in str(incident)
        moved = eventually(lambda: other_port(here, port), within_s=30)
        assert moved != port
        (incident,) = here.ok("incidents", "--json").json["incidents"]
        assert [climb["rung"] for climb in incident["climbs"]] == ["realloc"]
        assert patients.is_alive(stranger)
    assert told(here, "service.restarting") == []


def other_port(here: Host, port: int) -> int:
    """The port of web, once it is ready at another one than this; 0 until then."""
    web = service(here, "otter", "web")
    now = int(web["ports"].get("http", port))
    return now if web["state"] == "ready" and now != port else 0


@contextmanager
def answering(port: int) -> Iterator[int]:
    """Pid of a server of somebody else's, which answers 200 there."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ready").touch()
        argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", folder]
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        ) as server:
            try:
                yield server.pid
            finally:
                server.kill()


SHARED = f"""
web:
  scope: shared
  command: exec {sys.executable} patient.py
  ports: [http]
  ready: {{http: /ready, period: 100ms, deadline: 1s}}
  live: {{http: /live, period: 200ms, timeout: 500ms, down: 3, grace: 1s}}
  stop: {{grace: 200ms}}
  restart: {{policy: on-failure, initial: 50ms, jitter: 0}}
"""


@proves("PROBE-006")
def test_a_shared_service_that_hangs_is_restarted_once_for_all_who_use_it(here: Host) -> None:
    spawn(here, SHARED)
    here.ok("spawn", "--template", "tried", "--name", "heron")
    (first,) = patients.launches(here.repo)
    (here.repo / "no-live").touch()

    eventually(lambda: not patients.is_alive(first), within_s=20)
    (here.repo / "no-live").unlink()
    eventually(lambda: [service(here, name, "web")["state"] for name in ("otter", "heron")] == ["ready"] * 2)
    (_, second) = patients.launches(here.repo)
    assert patients.is_alive(second)


@proves("PROBE-007")
def test_health_says_when_the_machine_is_too_busy_to_blame_anybody() -> None:
    with host(ENVMGR_HEALTH__OVERLOAD_PER_CPU="0.000001") as here:
        patients.admit(here)
        tree = spawn(here)
        (tree / "no-live").touch()
        eventually(lambda: told(here, "probes.suspended"))
        assert here.ok("health", "otter").out.startswith("probes are suspended: the machine is overloaded")
        assert len(patients.launches(tree)) == 1
