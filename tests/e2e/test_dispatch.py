"""Agents that work off a queue by themselves: each task once, whoever dies, sleeps or fails."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import task_worker
from tests.support.clis import KINDS, furnish, template
from tests.support.host import Host, host
from tests.support.model import scripted_model
from tests.support.requirements import proves
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(180)

_WORKER = """
envmgr: 1
name: worker
agent:
  kind: command
  command: {command}
recovery: {{rungs: []}}
"""


def _tasks(here: Host, *more: str) -> dict[str, Any]:
    listed = here.ok("task", "ls", "--json", "--limit", "200", *more).json["tasks"]
    return {task["task_id"]: task for task in listed}


def _log(folder: Path) -> list[Any]:
    path = folder / "log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def _suspended(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@proves("QUEUE-SHOW-001")
def test_three_agents_do_thirty_tasks_once_each_while_one_is_killed_and_one_is_suspended(
    tmp_path: Path,
) -> None:
    quick = {"ENVMGR_QUEUE__LEASE_S": "2", "ENVMGR_QUEUE__BACK_OFF_S": "0", "ENVMGR_QUEUE__PERIOD_S": "0.1"}
    with host(**quick) as here:
        here.template(
            "worker",
            _WORKER.format(command=json.dumps([sys.executable, task_worker.__file__, str(tmp_path)])),
        )
        here.ok("task", "add", "--file", "-", stdin=_thirty())
        for name in ("a", "b", "c"):
            here.ok("spawn", "-t", "worker", "--name", name)
        eventually(lambda: len(_holding(tmp_path)) == 2, within_s=30)
        killed, suspended = _holding(tmp_path)

        os.kill(killed["pid"], signal.SIGKILL)
        with _suspended(suspended["pid"]):
            eventually(lambda: _lost(here, suspended), within_s=30)
            (tmp_path / "go").touch()
            eventually(lambda: {t["status"] for t in _tasks(here).values()} == {"done"}, within_s=60)
        eventually(lambda: _late(tmp_path, suspended), within_s=30)

        done = Counter(one["task_id"] for one in _log(tmp_path) if one["what"] == "end" and one["ok"])
        audit = here.ok(
            "audit", "--last", "1h", "--operation", "task.complete", "--limit", "1000", "--json"
        ).json
        said = [e["target"] for e in audit["entries"] if e["outcome"] == "ok"]
        assert (len(done), set(done.values())) == (30, {1}), done
        assert Counter(said) == done
        assert [one["reason"] for one in _late(tmp_path, suspended)] == ["stale_lease"]
        assert here.run("audit", "--verify").code == 0


def _thirty() -> str:
    """Two that are held, and 28 in layers of four, each waiting for two of the layer before."""
    lines = [
        {"key": f"h{n}", "description": "hold on", "input_data": {"hold": True}, "priority": 1}
        for n in (0, 1)
    ]
    for n in range(28):
        above = [f"n{n - n % 4 - 4 + k % 4}" for k in (n, n + 1)] if n >= 4 else ["h0"]
        lines.append({"key": f"n{n}", "description": f"number {n}", "depends_on": above})
    return "".join(json.dumps(line) + "\n" for line in lines)


def _holding(folder: Path) -> list[Any]:
    """Who has begun one of the held tasks, and not ended it."""
    seen = _log(folder)
    ended = {(one["task_id"], one["lease_token"]) for one in seen if one["what"] == "end"}
    return [
        one for one in seen if one["what"] == "begin" and (one["task_id"], one["lease_token"]) not in ended
    ]


def _lost(here: Host, worker: Any) -> bool:
    """Whether the lease of a worker has run out."""
    shown = here.ok("task", "show", worker["task_id"], "--json").json
    return bool(shown["history"][0]["outcome"] == "expired")


def _late(folder: Path, worker: Any) -> list[Any]:
    """What a worker heard when it reported under the lease that it had lost."""
    return [
        one
        for one in _log(folder)
        if one["what"] == "end"
        and (one["task_id"], one["lease_token"]) == (worker["task_id"], worker["lease_token"])
    ]


@contextmanager
def _coder(folder: Path, *, runs: Mapping[str, Any] | None = None, **queue: object) -> Iterator[Host]:
    """A host whose template `coder` runs Claude Code against the scripted model, and gets tasks by itself."""
    home = folder / "home"
    furnish(home)
    with scripted_model(folder) as model, host(HOME=str(home), ENVMGR_QUEUE__DISPATCH_S="0.5") as here:
        agent = {"kind": "claude_code", "permission_mode": "acceptEdits"} if runs is None else runs
        document = json.loads(template(url=model.url, **agent))
        here.template("coder", json.dumps(document | {"queue": {"mode": "auto", **queue}}))
        yield here


@proves("DISPATCH-001", "DISPATCH-002")
def test_an_idle_agent_gets_tasks_and_its_turns_and_checks_end_them(tmp_path: Path) -> None:
    with _coder(tmp_path, checks=["test -f hello.py"], rounds=1) as here:
        early = here.ok("task", "add", "SCN=edit", "--json").json["task_id"]
        here.ok("spawn", "-t", "coder", "--name", "c")
        late = here.ok("task", "add", "SCN=ls", "--depends-on", early, "--json").json["task_id"]

        eventually(lambda: {t["status"] for t in _tasks(here).values()} == {"done"}, within_s=90, every_s=0.3)

        kinds = [
            (e["kind"], e["data"].get("task")) for e in here.events("c") if e["kind"] == "task.dispatched"
        ]
        assert kinds == [("task.dispatched", early), ("task.dispatched", late)]
        shown = here.ok("task", "show", early, "--json").json
        assert shown["result"] == {"ended_by": "end of turn", "checks_passed": 1}
        assert "validating" in [e["data"].get("activity") for e in here.events("c")]


@proves("DISPATCH-001", "DISPATCH-002")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "claude_code"])
def test_every_assistant_gets_tasks_and_ends_them_with_its_turns(kind: str, tmp_path: Path) -> None:
    with _coder(tmp_path, runs={"kind": kind}) as here:
        early = here.ok("task", "add", "SCN=hello", "--json").json["task_id"]
        here.ok("spawn", "-t", "coder", "--name", "c")
        late = here.ok("task", "add", "SCN=hello", "--depends-on", early, "--json").json["task_id"]

        eventually(
            lambda: {t["status"] for t in _tasks(here).values()} == {"done"}, within_s=120, every_s=0.3
        )

        for task in (early, late):
            shown = here.ok("task", "show", task, "--json").json
            assert (shown["claimed_by"], shown["attempt_count"]) == ("c", 1)
            assert shown["result"]["ended_by"] == "end of turn"


@proves("DISPATCH-005")
def test_a_turn_that_failed_is_no_task_that_is_done(tmp_path: Path) -> None:
    with _coder(tmp_path) as here:
        task = here.ok("task", "add", "SCN=e402", "--json").json["task_id"]
        here.ok("spawn", "-t", "coder", "--name", "c")

        eventually(lambda: _outcomes(here, task) == ["abandoned"], within_s=90, every_s=0.3)

        (shown,) = _tasks(here).values()
        told = here.ok("task", "show", task, "--json").json["history"][0]
        assert shown["status"] == "ready"
        assert "StopFailure" in told["error_message"]
        assert here.run("lock", "ls", "--json").json["locks"] == []


_RUNS_COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "claude_code": {"args": ["--allowedTools", "Bash"]},
    "codex": {},
    "gemini": {"permission_mode": "yolo"},
}


@proves("QUEUE-013")
@pytest.mark.parametrize("kind", _RUNS_COMMANDS)
def test_an_assistant_is_told_behind_its_tool_that_its_task_was_called_off(kind: str, tmp_path: Path) -> None:
    model = tmp_path / "model.jsonl"
    with _coder(tmp_path, runs={"kind": kind, **_RUNS_COMMANDS[kind]}) as here:
        task = here.ok("task", "add", "SCN=slow_tool", "--json").json["task_id"]
        here.ok("spawn", "-t", "coder", "--name", "c")
        eventually(lambda: model.exists() and "SCN=slow_tool" in model.read_text(), within_s=60)

        here.ok("task", "cancel", task, "-m", "the plan changed")

        order = f"From envmgr: task {task} was cancelled: stop working on it (the plan changed)."
        eventually(lambda: order in model.read_text(), within_s=60, every_s=0.3)
        eventually(lambda: here.agent("c")["activity"] == "ready", within_s=60, every_s=0.3)
        last = model.read_text().splitlines()[-1]
        assert last.count(order) == 1


@proves("DISPATCH-005")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "claude_code"])
def test_no_assistant_ends_a_task_by_a_turn_that_failed(kind: str, tmp_path: Path) -> None:
    with _coder(tmp_path, runs={"kind": kind}) as here:
        task = here.ok("task", "add", "SCN=e402", "--json").json["task_id"]
        here.ok("spawn", "-t", "coder", "--name", "c")

        eventually(lambda: _outcomes(here, task) == ["abandoned"], within_s=90, every_s=0.3)

        (shown,) = _tasks(here).values()
        assert shown["status"] == "ready"


def _outcomes(here: Host, task: str) -> list[str]:
    return [one["outcome"] for one in here.ok("task", "show", task, "--json").json["history"]]


@proves("DISPATCH-003")
def test_what_a_check_finds_is_given_back_to_be_mended_and_then_the_attempt_has_failed(
    tmp_path: Path,
) -> None:
    with _coder(tmp_path, checks=["echo missing is missing; test -f missing"], rounds=1) as here:
        here.ok("task", "add", "SCN=hello", "--max-attempts", "1")
        here.ok("spawn", "-t", "coder", "--name", "c")

        eventually(lambda: {t["status"] for t in _tasks(here).values()} == {"dead"}, within_s=90, every_s=0.3)

        checked = [e["data"]["ok"] for e in here.events("c") if e["kind"] == "task.checked"]
        (task,) = _tasks(here).values()
        assert checked == [False, False]
        assert "checks_failed" in task["error"]
        assert "missing is missing" in here.ok("task", "show", task["task_id"]).out
