"""The audit sees what is really there, and tests that leak fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from envmgr.testing.audit import Finding, audit
from tests.support.leaks import nothing_left
from tests.support.requirements import proves
from tests.support.wait import eventually

_IDLE = "import sys; sys.stdin.read()"
_LISTEN = """
import socket, sys
for port in range(29000, 29900):
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError:
        continue
    print(port, flush=True)
    break
sys.stdin.read()
"""


@contextmanager
def _child(code: str, *, cwd: Path | None = None, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process


def _kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


@proves("AUDIT-001")
def test_an_empty_state_directory_has_no_findings(tmp_path: Path) -> None:
    assert audit(tmp_path) == []


@proves("AUDIT-001")
def test_a_process_with_the_state_directory_in_its_environment_is_found(tmp_path: Path) -> None:
    with _child(_IDLE, ENVMGR_STATE_DIR=str(tmp_path)) as child:
        found = eventually(lambda: audit(tmp_path))

        assert _kinds(found) == ["process"]
        assert found[0].what.startswith(f"{child.pid} {sys.executable}")
    assert audit(tmp_path) == []


@proves("AUDIT-001")
def test_a_process_that_works_in_the_folder_is_found_even_when_the_folder_is_gone(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    with _child(_IDLE, cwd=room):
        assert _kinds(eventually(lambda: audit(tmp_path))) == ["process"]
        room.rmdir()

        assert _kinds(audit(tmp_path)) == ["process"]


@proves("AUDIT-001")
def test_a_process_of_another_state_directory_is_not_ours(tmp_path: Path) -> None:
    with _child(_LISTEN, ENVMGR_STATE_DIR=str(tmp_path) + "-other") as child:
        assert child.stdout is not None
        child.stdout.readline()

        assert audit(tmp_path) == []


@proves("AUDIT-001")
def test_a_port_of_the_pool_held_by_our_process_is_found(tmp_path: Path) -> None:
    with _child(_LISTEN, ENVMGR_STATE_DIR=str(tmp_path)) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())

        expected = Finding(kind="listener", what=f"127.0.0.1:{port} of pid {child.pid}")
        assert expected in audit(tmp_path)


@proves("AUDIT-001")
def test_a_socket_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))

    assert audit(tmp_path) == [Finding(kind="socket", what=str(path))]


@proves("AUDIT-001")
def test_a_tmux_server_is_found(tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    tmux = ["tmux", "-f", "/dev/null", "-S", path]
    subprocess.run([*tmux, "new-session", "-d", "-c", "/", "sh"], check=True, cwd="/", timeout=10)
    try:
        found = audit(tmp_path)
    finally:
        subprocess.run([*tmux, "kill-server"], check=True, timeout=10)

    assert "tmux" in _kinds(found)
    assert Finding(kind="socket", what=path) in found
    eventually(lambda: "tmux" not in _kinds(audit(tmp_path)))


@proves("AUDIT-001")
def test_a_worktree_is_found_by_its_folder_and_by_its_registration(tmp_path: Path) -> None:
    repository, state = tmp_path / "app", tmp_path / "state"
    tree = state / "trees" / "one"
    git = ["git", "-C", str(repository)]
    subprocess.run(["git", "init", "-q", str(repository)], check=True, timeout=10)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True, timeout=10)
    subprocess.run([*git, "worktree", "add", "-q", str(tree)], check=True, timeout=10)
    expected = [Finding(kind="worktree", what=str(tree))]

    assert audit(state) == expected
    tree.rename(tmp_path / "moved")
    assert audit(state) == []
    assert audit(state, repositories=[repository]) == expected


@proves("AUDIT-002")
def test_a_test_that_leaves_a_process_fails_and_the_process_is_ended(tmp_path: Path) -> None:
    started: list[subprocess.Popen[str]] = []

    def careless() -> None:
        with nothing_left(tmp_path, grace_s=0.1):
            started.append(subprocess.Popen([sys.executable, "-c", _IDLE], stdin=subprocess.PIPE, text=True))

    with pytest.raises(AssertionError, match=f"the test left behind: .*{sys.executable}"):
        careless()

    with started[0]:
        assert started[0].wait(10) == -9


@proves("AUDIT-002")
def test_a_process_that_left_its_parent_is_seen_too(tmp_path: Path) -> None:
    daemonize = (
        "import subprocess as s; n = s.DEVNULL;"
        "print(s.Popen(['sleep', '60'], start_new_session=True, cwd='/', stdout=n, stderr=n).pid)"
    )
    pids: list[int] = []

    def careless() -> None:
        with nothing_left(tmp_path, grace_s=0.1):
            done = subprocess.run(
                [sys.executable, "-c", daemonize], check=True, stdout=subprocess.PIPE, text=True, timeout=10
            )
            pids.append(int(done.stdout))

    with pytest.raises(AssertionError, match="sleep 60"):
        careless()

    eventually(lambda: not psutil.pid_exists(pids[0]) or psutil.Process(pids[0]).status() == "zombie")
