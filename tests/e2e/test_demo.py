"""The demo shows what it says, and takes everything back however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from envmgr.testing.audit import audit
from tests.support.requirements import ROOT, proves
from tests.support.wait import eventually

_DEMO = (sys.executable, str(ROOT / "scripts" / "demo.py"))
_DEADLINE_S = 50


@contextmanager
def _running(*words: str, path: str = "") -> Iterator[subprocess.Popen[str]]:
    """The demo in a process group of its own, as in a terminal."""
    environment = {**os.environ, **({"PATH": path} if path else {})}
    process = subprocess.Popen(
        [*_DEMO, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _lines(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=_DEADLINE_S)[0].splitlines()


def _folder(lines: list[str]) -> Path:
    """The temporary folder; the first lines name the project in it."""
    line = next(line for line in lines if line.startswith("# A small project in "))
    return Path(line.split()[5].rstrip(",")).parent


def _summary(lines: list[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(lines[-1])
    return document


@proves("DEMO-001")
def test_once_shows_two_agents_and_leaves_nothing() -> None:
    with _running("--once") as demo:
        lines = _lines(demo)

    summary = _summary(lines)
    assert (demo.returncode, summary["ok"]) == (0, True), "\n".join(lines)
    assert summary["agents"] == 2
    assert len(set(summary["urls"])) == 2
    assert summary["leaks"] == []
    assert summary["spawn_s"] > 0
    assert not _folder(lines).exists()


@proves("DEMO-001")
def test_the_two_pages_come_from_two_worktrees() -> None:
    with _running("--once") as demo:
        lines = _lines(demo)

    first, second = _summary(lines)["urls"]
    pages = [line for line in lines if line.startswith("http")]
    assert pages == [
        f"{first}  Little shop",
        f"{second}  Little shop",
        f"{first}  Little shop",
        f"{second}  Lovely little shop",
        f"{first}  Spring sale",
        f"{second}  Lovely little shop",
    ]


@proves("DEMO-004")
@pytest.mark.timeout(120)
def test_the_full_stack_shows_two_databases_with_different_data_and_leaves_nothing() -> None:
    with _running("--template", "fullstack", "--once") as demo:
        lines = _lines(demo)

    summary = _summary(lines)
    assert (demo.returncode, summary["ok"]) == (0, True), "\n".join(lines)
    assert summary["leaks"] == []
    first, second = summary["urls"]
    assert [line for line in lines if line.startswith("http")] == [
        f"{first}  green tea",
        f"{second}  black coffee",
    ]
    assert [line.split("  ")[-1] for line in lines if "SELECT what" in line] == ["green tea", "black coffee"]
    assert _order(lines, "fullstack-1") == ["postgres ready", "migrate done", "api ready", "front ready"]


def _order(lines: list[str], agent: str) -> list[str]:
    """When each service of an agent was told to be up, Redis aside, which waits for nobody."""
    told = [line.removeprefix(f"{agent}: ").split(":")[0] for line in lines if line.startswith(f"{agent}: ")]
    return [line for line in told if line.endswith((" ready", " done")) and not line.startswith("redis")]


@proves("DEMO-002")
@pytest.mark.parametrize("moment", ["$ envmgr spawn", "services started", "# Both answer", "$ envmgr stop"])
def test_an_interrupt_takes_everything_back(moment: str) -> None:
    with _running("--once") as demo:
        assert demo.stdout is not None
        before = []
        for line in demo.stdout:
            before.append(line.rstrip("\n"))
            if moment in line:
                break
        os.killpg(demo.pid, signal.SIGINT)
        lines = before + _lines(demo)

    summary = _summary(lines)
    assert demo.returncode == 130, "\n".join(lines)
    assert (summary["ok"], summary["why"]) == (False, "interrupted")
    assert not _folder(lines).exists()


@proves("DEMO-002")
def test_a_failure_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    for tool in ("git", "sh", "env", "python3"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)

    with _running("--once", path=str(tmp_path)) as demo:
        lines = _lines(demo)

    summary = _summary(lines)
    assert (demo.returncode, summary["ok"]) == (1, False), "\n".join(lines)
    assert summary["why"].startswith("`envmgr spawn")
    assert not _folder(lines).exists()


@proves("DEMO-003")
def test_without_once_the_agents_stay_and_the_printed_command_stops_them() -> None:
    with _running() as demo:
        lines = _lines(demo)
    folder, stop = _folder(lines), lines[-1]
    try:
        agents = _envmgr(folder, "ls", "--json")
    finally:
        stopped = subprocess.run(["sh", "-c", stop], capture_output=True, text=True, check=False)

    assert demo.returncode == 0, "\n".join(lines)
    assert [agent["lifecycle"] for agent in json.loads(agents)["agents"]] == ["running", "running"]
    assert (stopped.returncode, stopped.stderr) == (0, "")
    eventually(lambda: audit(folder) == [])
    assert not folder.exists()


def _envmgr(folder: Path, *words: str) -> str:
    environment = {**os.environ, "ENVMGR_STATE_DIR": str(folder / "state")}
    return subprocess.run(
        [sys.executable, "-m", "envmgr", *words], env=environment, capture_output=True, text=True, check=True
    ).stdout
