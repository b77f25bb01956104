"""Tasks that are skipped when nothing they stand on has changed, from the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_TEMPLATE = """\
envmgr: 1
services:
  migrate:
    kind: task
    command: echo ran >>{log}
    run_when: {{changed: ["db/**"]}}
  api:
    command: exec sleep 1000
    depends_on: {{migrate: succeeded}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        made.template("shop", _TEMPLATE.format(log=log(made)))
        made.ok("spawn", "-t", "shop", "--name", "otter")
        yield made


def log(here: Host) -> Path:
    return here.state.parent / "runs"


def runs(here: Host) -> int:
    return len(log(here).read_text(encoding="utf-8").splitlines())


def migrate(here: Host, agent: str) -> Any:
    return next(s for s in here.agent(agent)["services"] if s["name"] == "migrate")


@proves("TASK-001", "TASK-003")
def test_a_start_skips_what_is_done_and_a_restart_that_is_asked_for_runs_it(here: Host) -> None:
    here.ok("stop", "otter")
    here.ok("start", "otter")
    assert (runs(here), migrate(here, "otter")["state"]) == (1, "done")
    assert migrate(here, "otter")["detail"].startswith("skipped: unchanged since 20")
    assert any(
        "skipped" in str(e["data"].get("detail")) for e in here.events("otter") if e["kind"] == "service.done"
    )

    here.ok("restart", "otter", "migrate")
    assert runs(here) == 2
    place = Path(here.agent("otter")["worktree"]) / "db"
    place.mkdir()
    (place / "1.sql").write_text("create table a", encoding="utf-8")
    here.ok("stop", "otter")
    here.ok("start", "otter")
    assert runs(here) == 3


@proves("TASK-001")
def test_after_a_restart_of_the_daemon_a_skipped_task_still_counts_as_done(here: Host) -> None:
    here.ok("stop", "otter")
    here.ok("start", "otter")
    daemon = here.daemon_pid()
    assert daemon is not None
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{daemon}").exists())
    assert migrate(here, "otter")["state"] == "done"
    here.ok("restart", "otter", "api")
    assert runs(here) == 1


@proves("TASK-007", "TASK-005")
def test_a_fork_does_not_run_again_what_its_origin_has_done(here: Host) -> None:
    here.ok("fork", "otter", "--name", "heron")
    assert migrate(here, "heron")["detail"].startswith("skipped")
    assert runs(here) == 1
    for name in ("heron", "otter"):
        here.ok("stop", name)
        here.ok("rm", name, "--yes")
    here.ok("spawn", "-t", "shop", "--name", "otter")
    assert runs(here) == 2
