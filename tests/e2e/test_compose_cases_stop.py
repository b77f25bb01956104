"""What people know from compose and process supervisors, case by case: how services end, and what a restart keeps."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.support.host import Host, host
from tests.support.replicated import template
from tests.support.requirements import proves
from tests.support.survive import processes_of
from tests.support.wait import eventually

# Takes its time to end, by itself (children would get the signal, too), and writes down when it was asked and when it ended.
ENDS = """\
import pathlib, signal, sys, time
def note(what):
    pathlib.Path(f"{sys.argv[1]}.{what}").write_text(str(time.time_ns()))
def end(*_):
    note("asked")
    time.sleep(float(sys.argv[2]))
    note("ended")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.sleeper()
        here.ok(
            "spawn", "-t", "sleeper", "--name", "neighbour"
        )  # so that the tmux server is there all the time
        yield here


def up(here: Host, name: str, services: str) -> Path:
    """Spawn an agent of this name; returns its worktree."""
    here.template(name, template(name, textwrap.dedent(services)))
    here.ok("spawn", "-t", name, "--name", name)
    return Path(here.agent(name)["worktree"])


def service(name: str, *needs: str, ends_in_s: float = 0.1) -> str:
    """One that tells in the worktree when it was asked to end and when it had ended."""
    edges = f", depends_on: [{', '.join(needs)}]" if needs else ""
    argv = json.dumps(["python3", "-c", ENDS, name, str(ends_in_s)])
    return f"{name}: {{command: {argv}, ready: {{log: up}}{edges}}}\n"


def moment(place: Path, name: str, what: str) -> int:
    return int((place / f"{name}.{what}").read_text())


@proves("SVC-CASE-CHAIN")
def test_exact_reverse_stop_order_of_a_chain_of_eight(shared: Host) -> None:
    names = [f"s{number}" for number in range(8)]
    chain = "".join(service(name, *names[max(0, i - 1) : i]) for i, name in enumerate(names))
    place = up(shared, "eight", chain)
    shared.ok("stop", "eight")
    for base, user in pairwise(names):
        assert moment(place, user, "ended") < moment(place, base, "asked")


@proves("SVC-CASE-DIAMOND")
def test_diamond_shutdown_top_then_both_sides_at_once_then_the_base(shared: Host) -> None:
    place = up(
        shared,
        "diamond",
        service("base")
        + service("left", "base", ends_in_s=1.0)
        + service("right", "base", ends_in_s=1.0)
        + service("top", "left", "right"),
    )
    shared.ok("stop", "diamond")
    sides = ("left", "right")
    assert moment(place, "top", "ended") < min(moment(place, side, "asked") for side in sides)
    # side by side: each was asked before the other had ended
    assert max(moment(place, s, "asked") for s in sides) < min(moment(place, s, "ended") for s in sides)
    assert max(moment(place, side, "ended") for side in sides) < moment(place, "base", "asked")


@proves("SVC-CASE-TERM")
def test_who_ignores_term_is_killed_in_time_while_a_polite_sibling_stops_fast(shared: Host) -> None:
    place = up(
        shared,
        "deaf",
        service("polite")
        + textwrap.dedent("""\
            deaf:
              command: [sh, -c, "trap '' TERM; echo up; while :; do sleep 0.05; done"]
              ready: {log: up}
              stop: {grace: 2s}
            """),
    )
    found = processes_of(shared, shared.agent("deaf"), part="service:deaf")
    deaf = next(process for process in found if process.cmdline()[0] == "sh")
    stop = shared.start("stop", "deaf")
    eventually(lambda: (place / "polite.ended").exists(), every_s=0.005)
    assert deaf.is_running()
    began = time.monotonic()
    eventually(lambda: not deaf.is_running(), every_s=0.005)
    assert 1.0 < time.monotonic() - began < 3.5
    _, said = stop.communicate(timeout=30)
    assert stop.returncode == 0, said


@proves("SVC-CASE-GRANDCHILD")
@pytest.mark.parametrize("how", ["", "nohup ", "setsid "])
def test_a_background_grandchild_is_gone_within_a_second(shared: Host, how: str) -> None:
    name = f"family-{how.strip() or 'plain'}"
    place = up(
        shared,
        name,
        f"""\
        web:
          command: "({how}sleep 1000 & echo $! > grandchild); echo up; exec sleep 2000"
          ready: {{log: up}}
        """,
    )
    grandchild = next(
        p
        for p in processes_of(shared, shared.agent(name), part="service:web")
        if p.cmdline() == ["sleep", "1000"]
    )
    main = next(
        p
        for p in processes_of(shared, shared.agent(name), part="service:web")
        if p.cmdline() == ["sleep", "2000"]
    )
    assert (place / "grandchild").exists()
    restart = shared.start("restart", name, "web")
    eventually(lambda: not main.is_running(), every_s=0.005)
    eventually(lambda: not grandchild.is_running(), within_s=1.0, every_s=0.005)
    assert restart.wait(30) == 0
    restart.communicate()


@proves("SVC-CASE-NUMBERING")
def test_numbering_is_stable_when_an_instance_in_the_middle_comes_back(shared: Host) -> None:
    up(shared, "numbers", 'web: {command: "exec sleep 1000", replicas: 3, restart: never}\n')

    def pids() -> dict[str, int]:
        agent = shared.agent("numbers")
        found = {f"web-{n}": processes_of(shared, agent, part=f"service:web-{n}") for n in range(4)}
        return {unit: processes[0].pid for unit, processes in found.items() if processes}

    before = pids()
    assert list(before) == ["web-0", "web-1", "web-2"]
    psutil.Process(before["web-1"]).kill()
    eventually(lambda: "web-1" not in pids())
    shared.ok("restart", "numbers", "web-1")
    shared.ok("scale", "numbers", "web=4")
    after = pids()
    assert list(after) == ["web-0", "web-1", "web-2", "web-3"]
    assert [unit for unit in before if before[unit] != after[unit]] == ["web-1"]
