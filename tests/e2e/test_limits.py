"""Limits of services and agents on a machine without cgroup scopes: the guard, rlimits, and the container engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.docker import BASE
from tests.support.host import Host, host
from tests.support.replicated import service, template
from tests.support.requirements import proves
from tests.support.wait import eventually

PYTHON = sys.executable
# Takes memory when there is a file `go`, once.
GREEDY = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nos.remove('go')\nhoard = b'x' * {size}\ntime.sleep(600)\n"
PARENT = """import os, time
hoard = b'x' * 40_000_000
for _ in range(6):
    if not os.fork():
        sum(hoard[::4096])
        time.sleep(600)
time.sleep(600)
"""
FORKER = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nfor _ in range(8):\n    if not os.fork(): os.setsid(); time.sleep(600)\ntime.sleep(600)\n"
BUSY = "import os\nwhile True: pass\n"


@pytest.fixture
def here() -> Iterator[Host]:
    with host(ENVMGR_LIMITS__GUARD_PERIOD_S="0.2") as made:
        yield made


def spawn(here: Host, services: str, **programs: str) -> Path:
    """Spawn `otter` with these services; returns its worktree. Programs lie in the repository, uncommitted files do not count."""
    from tests.support.host import git

    for name, text in programs.items():
        (here.repo / f"{name}.py").write_text(text)
    if programs:
        git(here.repo, "add", "-A")
        git(here.repo, "commit", "-q", "-m", "programs")
    here.template("t", template("t", services))
    here.ok("spawn", "-t", "t", "--name", "otter")
    return Path(here.agents()["otter"]["worktree"])


def told(here: Host, kind: str) -> list[Any]:
    return [event["data"] for event in here.events("otter") if event["kind"] == kind]


@proves("LIMIT-003", "LIMIT-005")
def test_a_service_over_its_memory_is_ended_with_the_numbers_and_comes_back_with_a_higher_limit(
    here: Host,
) -> None:
    worktree = spawn(
        here,
        f"api:\n  command: [{PYTHON}, greedy.py]\n  limits: {{memory: 40MB, nofile: 64}}\n"
        "  restart: {policy: on-failure, initial: 100ms}\nweb:\n  command: [sleep, '600']\n",
        greedy=GREEDY.format(size=80_000_000),
    )
    assert service(here, "otter", "api")["limits"] == [
        {"name": "memory", "value": "40 MB", "tier": "guard"},
        {"name": "nofile", "value": "64", "tier": "rlimits"},
    ]
    assert "limits: memory 40 MB (guard); nofile 64 (rlimits)" in here.ok("show", "otter").out
    assert service(here, "otter", "api")["state"] == "ready"

    (worktree / "go").touch()
    eventually(lambda: told(here, "limit.exceeded"), within_s=20)
    (over,) = told(here, "limit.exceeded")
    assert over["subject"] == "api"
    assert over["reason"].startswith("over its memory limit: ")
    assert over["reason"].endswith(" MB of 40 MB (guard)")
    assert 80 <= int(over["reason"].split()[4]) < 120
    eventually(lambda: service(here, "otter", "api")["state"] == "ready", within_s=20)
    (failed,) = [each for each in told(here, "service.failed") if each["service"] == "api"]
    assert failed["detail"] == f"was ended: {over['reason']}"
    assert told(here, "service.restarting") == []  # the same limit would end it again
    assert [measure["rung"] for measure in told(here, "agent.recovering")] == [3]
    limit = service(here, "otter", "api")["limits"][0]["value"]
    assert limit == "60 MB (raised by a recovery; the template says 40 MB)"
    assert service(here, "otter", "web")["state"] == "ready"


@proves("LIMIT-003", "LIMIT-004")
def test_processes_that_left_the_session_of_their_service_count_for_its_pids(here: Host) -> None:
    worktree = spawn(
        here,
        f"api:\n  command: [{PYTHON}, forker.py]\n  limits: {{pids: 4}}\n  restart: never\n",
        forker=FORKER,
    )
    (worktree / "go").touch()
    eventually(lambda: service(here, "otter", "api")["state"] == "failed", within_s=20)
    assert service(here, "otter", "api")["detail"] == "was ended: over its pids limit: 9 of 4 (guard)"
    assert [p for p in psutil.process_iter(["cmdline"]) if "forker.py" in (p.info["cmdline"] or ())] == []


@proves("LIMIT-004")
def test_memory_that_forked_processes_share_counts_once(here: Host) -> None:
    spawn(
        here,
        f"api:\n  command: [{PYTHON}, parent.py]\n  limits: {{memory: 150MB}}\n"
        f"marker:\n  command: [{PYTHON}, greedy.py]\n  limits: {{memory: 20MB}}\n  restart: never\n",
        parent=PARENT, greedy="import time\nhoard = b'x' * 60_000_000\ntime.sleep(600)\n",
    )  # fmt: skip
    # When the greedy one is ended, the sharing one has been looked at as often, too.
    eventually(lambda: service(here, "otter", "marker")["state"] == "failed", within_s=20)
    assert service(here, "otter", "api")["state"] == "ready"
    resident = sum(
        p.memory_info().rss
        for p in psutil.process_iter(["cmdline"])
        if "parent.py" in (p.info["cmdline"] or ())
    )
    assert resident > 150_000_000


@proves("LIMIT-006")
def test_processors_and_memory_of_the_whole_agent_are_remarked_and_end_nothing(here: Host) -> None:
    from tests.support.host import git

    (here.repo / "busy.py").write_text(BUSY)
    (here.repo / "big.py").write_text("import time\nhoard = b'x' * 60_000_000\ntime.sleep(600)\n")
    git(here.repo, "add", "-A")
    git(here.repo, "commit", "-q", "-m", "programs")
    text = template("t", f"api:\n  command: [{PYTHON}, busy.py]\n  limits: {{cpus: 0.2}}\n")
    here.template(
        "t",
        text.replace("command: [sleep, '1000']", f"command: [{PYTHON}, big.py]") + "limits: {memory: 50MB}\n",
    )
    here.ok("spawn", "-t", "t", "--name", "otter")
    eventually(
        lambda: {c["subject"] for c in here.agent("otter")["conditions"]} == {"api.cpus", "memory"},
        within_s=20,
    )
    reasons = {c["subject"]: c["reason"] for c in here.agent("otter")["conditions"]}
    assert reasons["api.cpus"].endswith("of 0.2 processors")
    assert reasons["memory"].endswith("of 50 MB")
    assert (here.agent("otter")["lifecycle"], service(here, "otter", "api")["state"]) == ("running", "ready")


@proves("LIMIT-005")
def test_doctor_tells_which_limits_work_on_this_machine(here: Host) -> None:
    (line,) = [line for line in here.run("doctor").out.splitlines() if " limits " in line]
    assert "containers: the engine" in line
    assert "scopes" in line


@proves("LIMIT-007")
def test_a_container_that_is_killed_at_its_limit_is_told_by_name_and_number(here: Host) -> None:
    grow = "sleep 1; tail /dev/zero"
    here.template(
        "t",
        template(
            "t",
            f"hungry:\n  image: {BASE}\n  command: [sh, -c, '{grow}']\n  limits: {{memory: 32MiB}}\n  restart: never\n",
        ),
    )
    here.ok("spawn", "-t", "t", "--name", "otter")
    assert service(here, "otter", "hungry")["limits"] == [
        {"name": "memory", "value": "34 MB", "tier": "engine"}
    ]
    eventually(lambda: service(here, "otter", "hungry")["state"] == "failed", within_s=20)
    assert service(here, "otter", "hungry")["detail"] == "ran out of memory: its limit is 32 MB"


@proves("R-36")
def test_the_kernel_takes_services_first_then_assistants_and_never_who_supervises_them(here: Host) -> None:
    spawn(here, "api:\n  command: [sleep, '601']\n")

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    daemon, agent = here.daemon_pid(), here.agent("otter")["id"]
    assert daemon is not None
    ours = [
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get("ENVMGR_AGENT") == agent
    ]
    scores = {
        process.info["cmdline"][1]: score(process.pid)
        for process in ours
        if "sleep" in process.info["cmdline"]
    }
    keeper = next(
        p
        for p in psutil.process_iter(["cmdline"])
        if str(here.state / "agents") in " ".join(p.info["cmdline"] or ())
    )
    assert scores["601"] > scores["1000"] > max(score(daemon), score(keeper.pid))
