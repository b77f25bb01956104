"""Replicated services of running agents: scale, restart, and who goes on answering meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from envmgr.model.ids import LABEL_STATE
from tests.support.docker import BASE, nothing_in_engine
from tests.support.host import Host, host
from tests.support.replicated import ask, service, template, write_server
from tests.support.requirements import proves
from tests.support.survive import held_ports, kill_daemon, processes_of, tmux
from tests.support.wait import eventually

API = """
api:
  command: [python3, server.py]
  ports: {http: {}}
  replicas: %d
  restart: never
  ready: {http: {port: http, path: /}}
"""
PLAIN = """
api:
  command: [python3, server.py]
  ports: {http: {}}
  ready: {http: {port: http, path: /}}
other:
  command: exec sleep 1000
prepare: {kind: task, command: "true"}
outside: {kind: external, ready: {exec: "true"}}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        write_server(here)
        here.template("one", template("one", API % 1))
        here.template("two", template("two", API % 2))
        here.template("plain", template("plain", PLAIN))
        yield here


def spawn(here: Host, name: str) -> int:
    """Spawn `otter`; returns the stable port of its api."""
    here.ok("spawn", "--template", name, "--name", "otter")
    return int(service(here, "otter", "api")["ports"]["http"])


def seen(port: int, times: int = 20) -> dict[str, int]:
    """Instance -> pid, as far as the stable port leads there."""
    found = {}
    for _ in range(times):
        said = ask(port)
        found[f"api-{said['replica']}"] = said["pid"]
    return found


def names(*numbers: int) -> set[str]:
    return {f"api-{number}" for number in numbers}


@contextmanager
def visitors(port: int) -> Iterator[list[str]]:
    """Two visitors who ask again and again; yields what went wrong for them."""
    trouble: list[str] = []
    counts = [0, 0]
    is_over = threading.Event()

    def visit(number: int) -> None:
        while not is_over.is_set():
            try:
                ask(port)
                counts[number] += 1
            except OSError as error:
                trouble.append(repr(error))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield trouble
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert min(counts) > 20


@proves("SVC-CASE-SCALE", "REPL-007")
def test_scale_to_ten_to_zero_in_vain_and_to_one(here: Host) -> None:
    port = spawn(here, "two")
    first = seen(port)
    assert set(first) == names(0, 1)
    here.ok("scale", "otter", "api=10")
    ten = seen(port)
    assert set(ten) == names(*range(10))
    assert first.items() <= ten.items()
    for wrong in ("api=0", "api=11", "api=many"):
        ran = here.run("scale", "otter", wrong)
        assert (ran.code, "from 1 to 10" in ran.err) == (2, True)
    assert seen(port) == ten
    ran = here.ok("scale", "otter", "api=1", "--json")
    gone = [(unit["unit"], unit["act"]) for unit in ran.json["units"]]
    assert gone == [(f"api-{number}", "stopped") for number in range(9, 0, -1)]
    assert seen(port) == {"api-0": first["api-0"]}
    assert len(held_ports(here)) == 2


@proves("REPL-008")
def test_no_visitor_notices_scaling_or_a_restart(here: Host) -> None:
    port = spawn(here, "two")
    before = seen(port)
    with visitors(port) as trouble:
        here.ok("scale", "otter", "api=4")
        here.ok("scale", "otter", "api=2")
        here.ok("restart", "otter", "api")
    assert trouble == []
    after = seen(port)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())


@proves("REPL-007")
def test_a_service_that_was_not_replicated_is_replaced_once_and_keeps_its_port(here: Host) -> None:
    port = spawn(here, "plain")
    ran = here.ok("scale", "otter", "api=2")
    assert "it is replaced once" in ran.out
    assert set(seen(port)) == names(0, 1)
    assert ask(port)["env"]["API_HTTP_PORT"] != str(port)
    assert f"API_HTTP_PORT={port}" in here.ok("env", "otter").out.replace("'", "")
    again = seen(port)
    here.ok("scale", "otter", "api=1")
    assert seen(port) == {"api-0": again["api-0"]}


@proves("REPL-007")
@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["web=2"], 4, "Its services are: api, other, prepare, outside."),
        (["api"], 2, "SERVICE=N"),
        (["prepare=2"], 5, "prepare is a task"),
        (["outside=2"], 5, "an external service"),
    ],
)  # fmt: skip
def test_what_cannot_be_scaled_is_told_with_what_can(
    here: Host, words: list[str], code: int, expected: str
) -> None:
    spawn(here, "plain")
    ran = here.run("scale", "otter", *words)
    assert (ran.code, expected in ran.err) == (code, True), ran.err


@proves("REPL-014")
def test_two_servers_on_one_volume_need_a_yes(here: Host) -> None:
    stored = f"""
store: {{image: {BASE}, pull: never, command: [sleep, '1000'], volumes: ["data:/data"]}}
reader: {{image: {BASE}, pull: never, command: [sleep, '1000'], volumes: ["data:/data:ro"]}}
"""
    with nothing_in_engine({LABEL_STATE: str(here.state)}):
        here.template("stored", template("stored", stored))
        here.ok("spawn", "--template", "stored", "--name", "otter")
        here.ok("stop", "otter")

        refused = here.run("scale", "otter", "store=2")
        example = here.run("scale", "otter", "store").err
        here.ok("scale", "otter", "reader=2")
        here.ok("scale", "otter", "store=2", "--shared-volumes")
        here.ok("scale", "otter", "store=1")

        assert refused.code == 5
        assert "would write to the same volume data" in refused.err
        assert "envmgr scale otter reader=2" in example
        here.ok("rm", "otter", "--yes")


@proves("REPL-007")
def test_the_number_of_a_stopped_agent_counts_from_its_next_start_on(here: Host) -> None:
    port = spawn(here, "two")
    here.ok("stop", "otter")
    assert "next start" in here.ok("scale", "otter", "api=3").out
    here.ok("start", "otter")
    assert set(seen(port)) == names(0, 1, 2)


@proves("REPL-013")
def test_logs_addresses_commands_and_viewers_know_services_and_instances(here: Host) -> None:
    port = spawn(here, "two")
    here.ok("scale", "otter", "api=3")
    said = here.ok("logs", "otter", "api").out.splitlines()
    assert {f"api-{n} | serving" for n in range(3)} <= set(said)
    assert "serving" in here.ok("logs", "otter", "api-2").out
    assert here.ok("url", "otter").out == f"http://127.0.0.1:{port}/\n"
    own = service(here, "otter", "api-1")["ports"]["http"]
    assert here.ok("url", "otter", "api-1").out == f"http://127.0.0.1:{own}/\n"
    inside = here.ok("exec", "--service", "api", "otter", "sh", "-c", "echo $ENVMGR_REPLICA").out
    assert inside.strip() == "0"
    panes = tmux(here, "list-panes", "-a", "-F", "#{@envmgr-viewer}").split()
    assert sorted(panes) == ["api", "api-0", "api-1", "api-2"]
    assert "api-1" in here.ok("show", "otter").out


@proves("REPL-009")
def test_each_instance_fails_for_itself_and_the_port_goes_on_answering(here: Host) -> None:
    port = spawn(here, "two")
    before = seen(port)
    os.kill(before["api-1"], signal.SIGKILL)
    eventually(lambda: service(here, "otter", "api-1")["state"] == "failed")
    assert seen(port) == {"api-0": before["api-0"]}
    conditions = {(c["type"], c["subject"]) for c in here.agent("otter")["conditions"]}
    assert conditions == {("ServiceDown", "api-1")}
    os.kill(before["api-0"], signal.SIGKILL)
    eventually(lambda: service(here, "otter", "api")["detail"] == "none of its instances is ready")
    here.ok("restart", "otter", "api-1")
    assert set(seen(port)) == names(1)
    here.ok("restart", "otter", "api")
    eventually(lambda: here.agent("otter")["conditions"] == [])
    assert set(seen(port)) == names(0, 1)


@proves("REPL-010")
def test_the_balancer_outlives_the_daemon_and_follows_the_next_one(here: Host) -> None:
    port = spawn(here, "two")
    before = seen(port)
    kill_daemon(here)
    assert seen(port) == before
    eventually(lambda: service(here, "otter", "api")["state"] == "ready")
    os.kill(before["api-0"], signal.SIGKILL)
    eventually(lambda: service(here, "otter", "api-0")["state"] == "failed")
    assert seen(port) == {"api-1": before["api-1"]}
    here.ok("scale", "otter", "api=3")
    assert set(seen(port)) == names(1, 2)


@proves("REPL-010")
def test_a_balancer_that_is_killed_comes_back_on_its_port(here: Host) -> None:
    port = spawn(here, "one")
    (balancer,) = processes_of(here, here.agent("otter"), part="service:api")
    balancer.kill()
    eventually(lambda: [e for e in here.events() if e["kind"] == "service.restarting"])
    eventually(lambda: here.agent("otter")["conditions"] == [])
    assert set(seen(port)) == names(0)


@proves("REPL-011")
def test_an_instance_that_does_not_come_up_is_told_and_the_others_run_on(here: Host) -> None:
    picky = """
    api:
      command: '[ $ENVMGR_REPLICA = 2 ] && { echo "no third one" >&2; exit 3; }; exec python3 server.py'
      ports: {http: {}}
      replicas: 2
      ready: {http: {port: http, path: /}}
    """
    here.template("picky", template("picky", picky))
    port = spawn(here, "picky")
    before = seen(port)
    ran = here.run("scale", "otter", "api=3")
    assert ran.code != 0
    assert "api-2 ended before it was ready with status 3; its last words: no third one" in ran.err
    assert seen(port) == before
    here.ok("scale", "otter", "api=2")
    assert here.agent("otter")["conditions"] == []


@proves("CTRL-001")
@pytest.mark.parametrize("point", ["change-committed", "change-before-end"])
@pytest.mark.parametrize("number", [1, 3])
def test_a_scaling_that_a_crash_cut_off_is_finished_by_the_next_daemon(
    here: Host, point: str, number: int
) -> None:
    here.ok("daemon", "stop")
    here.env["ENVMGR_CRASH_AT"] = point
    port = spawn(here, "two")
    first = seen(port)
    assert here.run("scale", "otter", f"api={number}").code != 0
    del here.env["ENVMGR_CRASH_AT"]
    eventually(lambda: [e for e in here.events() if e["kind"] == "change.finished"])
    after = seen(port)
    assert set(after) == names(*range(number))
    assert {n: p for n, p in first.items() if n in after}.items() <= after.items()
    assert len(held_ports(here)) == number + 1


@proves("CTRL-001")
def test_a_restart_that_a_crash_cut_off_between_stop_and_start_is_finished(here: Host) -> None:
    here.ok("daemon", "stop")
    here.env["ENVMGR_CRASH_AT"] = "change-between"
    port = spawn(here, "plain")
    assert here.run("restart", "otter", "api").code != 0
    del here.env["ENVMGR_CRASH_AT"]
    eventually(lambda: service(here, "otter", "api")["state"] == "ready")
    assert ask(port)["pid"]
