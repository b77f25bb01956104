"""What the scripts share keeps its word on machines that lack something."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.requirements import ROOT, proves

_TOOLS = ("bash", "cat", "dirname", "sh", "tail")


def _run(folder: Path, code: str, **commands: str) -> subprocess.CompletedProcess[str]:
    """Run `code` after scripts/lib.sh, where only a few tools and these `commands` (name to script) exist."""
    for tool in _TOOLS:
        real = next(path for path in (Path("/usr/bin") / tool, Path("/bin") / tool) if path.exists())
        (folder / tool).symlink_to(real)
    for name, script in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return subprocess.run(
        [folder / "bash", "-c", f'set -euo pipefail; source "{ROOT}/scripts/lib.sh"; {code}'],
        env={"PATH": str(folder), "LOG": str(folder / "log")},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


@proves("HOUSE-006")
def test_a_user_is_told_what_to_install(tmp_path: Path) -> None:
    result = _run(tmp_path, "need_command tmux", id="echo 1000")

    assert result.returncode == 1
    assert result.stderr == (
        "error: tmux is not installed\n"
        "hint: Install tmux with your system's package manager, then run this again.\n"
    )


@proves("HOUSE-006")
def test_root_gets_it_from_apt_after_one_update(tmp_path: Path) -> None:
    result = _run(
        tmp_path,
        "need_command git; need_command tmux",
        **{"id": "echo 0", "apt-get": 'echo "$@" >>"$LOG"'},
    )

    assert result.returncode == 0
    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines() == [
        "update",
        "install -y --no-install-recommends git",
        "install -y --no-install-recommends tmux",
    ]


@proves("HOUSE-006")
@pytest.mark.parametrize(("works_at", "status"), [(1, 0), (3, 0), (4, 1)])
def test_a_download_is_tried_three_times(tmp_path: Path, works_at: int, status: int) -> None:
    download = (
        f'echo try >>"$LOG"; [ "$(cat "$LOG" | wc -l)" -ge {works_at} ] || {{ echo "no route"; exit 1; }}'
    )
    result = _run(tmp_path, "from_network download", download=download, sleep=":", wc="exec /usr/bin/wc -l")

    assert result.returncode == status
    assert (tmp_path / "log").read_text(encoding="utf-8") == "try\n" * min(works_at, 3)
    assert ("no route" in result.stderr) == (works_at > 1)


@proves("HOUSE-006")
def test_a_python_that_is_too_old_or_does_not_run_is_passed_over(tmp_path: Path) -> None:
    commands = {"python3.13": "exit 127", "python3.12": "exit 1", "python3.11": "exit 0", "python3": "exit 0"}

    result = _run(tmp_path, "find_python", **commands)

    assert result.stdout == f"{tmp_path}/python3.11\n"


_NO_ENGINE = {"docker": "exit 1", "timeout": 'shift; exec "$@"'}


@proves("HOUSE-006")
def test_a_user_without_an_engine_is_told_how_to_get_one(tmp_path: Path) -> None:
    result = _run(tmp_path, "need_docker", id="echo 1000", **_NO_ENGINE)

    assert result.returncode == 1
    assert result.stderr == (
        "error: no container engine answers\n"
        "hint: Start Docker so that you may use it, or run this as root: then it installs and starts one for itself.\n"
    )


@proves("HOUSE-006")
def test_an_engine_that_was_named_and_does_not_answer_is_not_replaced(tmp_path: Path) -> None:
    result = _run(tmp_path, "export DOCKER_HOST=tcp://127.0.0.1:1; need_docker", id="echo 0", **_NO_ENGINE)

    assert result.returncode == 1
    assert result.stderr == (
        "error: no container engine answers at tcp://127.0.0.1:1\nhint: Start it, or unset DOCKER_HOST.\n"
    )


@proves("HOUSE-006")
def test_an_engine_that_answers_is_used_as_it_is(tmp_path: Path) -> None:
    commands = {"docker": 'echo "$@" >>"$LOG"', "timeout": 'shift; exec "$@"', "id": "echo 0"}

    result = _run(tmp_path, 'need_docker; echo "${DOCKER_HOST:-as it was}"; finish id', **commands)

    assert result.stdout == "as it was\n0\n"
    assert (tmp_path / "log").read_text(encoding="utf-8") == "--context default version\n"
