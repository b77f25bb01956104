"""Services that cannot come up: the spawn is rolled back, with the service, the reason and its last words."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.support.host import Host, Ran, host
from tests.support.requirements import proves
from tests.support.untouched import untouched
from tests.support.wait import eventually

_AGENT = "agent: {kind: command, command: [sleep, '1000']}\n"

_HESITANT = f"""\
envmgr: 1
services:
  api:
    command: echo $PORT >> wanted; while [ ! -e stolen ]; do sleep 0.02; done; exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [p]
    ready: {{tcp: p}}
{_AGENT}"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.sleeper()
        here.ok(
            "spawn", "-t", "sleeper", "--name", "neighbour"
        )  # so that the tmux server is there before and after
        yield here


def rolled_back(here: Host, name: str, services: str) -> Ran:
    """Spawn what must fail: everything is as before but for the agent's record, which explains it."""
    here.template(name, f"envmgr: 1\nservices:\n{services}{_AGENT}")
    with untouched(here):
        ran = here.run("spawn", "-t", name, "--name", name)
    assert ran.code == 8, ran
    assert "step services failed" in ran.err or "step ports failed" in ran.err
    assert "nothing was left behind" in ran.err
    assert f"hint:  See `envmgr why {name}`" in ran.err
    agent = here.agent(name)
    assert agent["lifecycle"] == "error"
    assert agent["reason"] in here.ok("why", name).out
    return ran


@proves("BAD-040")
def test_a_service_that_exits_at_once_is_quoted(shared: Host) -> None:
    ran = rolled_back(
        shared, "exits", "  api: {command: 'echo cannot find config >&2; exit 3', ports: [http]}\n"
    )

    assert "api ended before it was ready with status 3; its last words: cannot find config" in ran.err
    assert "envmgr logs exits api" in ran.err
    assert "cannot find config" in shared.ok("logs", "exits", "api").out
    head, *rows = shared.ok("ls").out.splitlines()
    row = next(row for row in rows if row.startswith("exits"))
    assert row[head.index("PORTS") :].split()[0] == "-"


@proves("BAD-041")
def test_a_service_that_never_gets_ready_is_given_up_at_its_deadline(shared: Host) -> None:
    ran = rolled_back(
        shared, "never", "  api: {command: sleep 1000, ports: [p], ready: {tcp: p, deadline: 500ms}}\n"
    )

    assert "api was not ready within 0.5 s: connection refused: nothing listens yet" in ran.err
    assert "ready.deadline" in ran.err


@proves("BAD-042")
def test_a_fixed_port_of_somebody_else_is_refused_with_their_pid(shared: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = rolled_back(
            shared, "fixed", f"  api: {{command: sleep 9, ports: {{p: {{prefer: {port}, fixed: true}}}}}}\n"
        )

        assert f"port {port} of api.p is taken by pid {os.getpid()}" in ran.err
        assert "drop `fixed`" in ran.err


@proves("BAD-043")
def test_a_preferred_port_of_somebody_else_is_moved(shared: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shared.template(
            "moved",
            f"envmgr: 1\nservices:\n  api: {{command: sleep 1000, ports: {{p: {{prefer: {port}}}}}}}\n{_AGENT}",
        )
        shared.ok("spawn", "-t", "moved", "--name", "moved")

        moved = shared.agent("moved")["services"][0]["ports"]["p"]
        assert moved != port
        shared.ok("stop", "moved")


@proves("BAD-044")
def test_a_port_that_is_stolen_between_lease_and_bind_is_moved_and_said_so(shared: Host) -> None:
    shared.template("stolen", _HESITANT)
    spawning = shared.start("spawn", "-t", "stolen", "--name", "stolen")
    place = shared.state / "worktrees"
    wanted = eventually(lambda: list(place.glob("*/stolen/wanted")), within_s=20)[0]
    port = int(eventually(wanted.read_text))

    with socket.create_server(("127.0.0.1", port)):
        (wanted.parent / "stolen").touch()
        _, err = spawning.communicate(timeout=30)

    assert spawning.returncode == 0, err
    assert f"port {port} is taken by pid {os.getpid()}" in err
    assert "moved to another port" in err
    api = shared.agent("stolen")["services"][0]
    assert api["state"] == "ready"
    assert api["ports"]["p"] != port
    shared.ok("stop", "stolen")


@proves("BAD-045")
@pytest.mark.parametrize(
    ("name", "service", "says"),
    [
        ("noprogram", "{command: [no-such-server, x]}", "api could not be executed: No such file or directory: no-such-server"),
        ("nofolder", "{command: sleep 9, cwd: nowhere}", "nowhere"),
        ("task-fails", "{kind: task, command: 'echo half way; exit 7'}", "api ended with status 7; its last words: half way"),
        ("task-hangs", "{kind: task, command: sleep 1000, timeout: 500ms}", "task api did not end within 0.5 s"),
        ("signal", "{command: 'kill -9 $$'}", "api ended before it was ready with signal SIGKILL"),
    ],
)  # fmt: skip
def test_a_service_that_cannot_run_names_the_reason(shared: Host, name: str, service: str, says: str) -> None:
    ran = rolled_back(shared, name, f"  api: {service}\n")

    assert says in ran.err


@proves("BAD-046")
def test_a_dependant_of_a_failed_service_is_never_started(shared: Host) -> None:
    ran = rolled_back(
        shared,
        "chain",
        "  first: {kind: task, command: exit 1}\n  second: {command: 'touch started; sleep 1000', depends_on: [first]}\n",
    )

    assert "chain: first failed" in ran.err
    assert "second starting" not in ran.err


@proves("BAD-047")
def test_a_service_that_left_grandchildren_behind_is_swept(shared: Host) -> None:
    ran = rolled_back(
        shared, "fork", "  api: {command: 'setsid sleep 1000 & setsid nohup sleep 1001 & exit 1'}\n"
    )

    assert "api ended before it was ready with status 1" in ran.err
