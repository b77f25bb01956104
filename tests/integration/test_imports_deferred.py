"""Commands that people run all day load no more than they need (architecture 4)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.requirements import proves

HEAVY = (
    "textual",
    "cryptography",
    "docker",
    "libtmux",
    "mcp",
    "starlette",
    "pydantic",
    "rich",
    "uvicorn",
    "anyio",
    "psutil",
    "ruamel",
)
# Reads the command line like `python -m envmgr` does, and afterwards tells what was loaded, on stderr.
PROBE = """
import sys
sys.argv = ["envmgr", *sys.argv[1:]]
from envmgr.__main__ import main
try:
    main()
except SystemExit:
    pass
print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def loaded(code: str, *arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ENVMGR_STATE_DIR": str(state)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=30,
        check=True,
    )


def names(result: subprocess.CompletedProcess[str]) -> set[str]:
    line = next(line for line in result.stderr.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


@proves("OPS-006")
@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["ls", "--help"], ["spawn", "--help"], ["no-such-command"], ["daemon", "--help"]],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    result = loaded(PROBE, *arguments, state=tmp_path)

    assert names(result) & set(HEAVY) == set()
    assert result.stdout or "No such command" in result.stderr
    assert list(tmp_path.iterdir()) == []


@proves("OPS-006")
def test_the_client_of_the_daemon_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import envmgr.app.client, sys; print('LOADED', *sorted({n.partition('.')[0] for n in sys.modules}), file=sys.stderr)"

    assert names(loaded(code, state=tmp_path)) & {*HEAVY, "click"} == set()


@proves("OPS-006")
def test_the_whole_help_is_printed_without_click(tmp_path: Path) -> None:
    result = loaded(PROBE, "--help", state=tmp_path)

    assert result.stdout.startswith("Usage: envmgr")
    assert names(result) & {"click", "json", "pathlib", "subprocess"} == set()


@contextmanager
def _answering(state: Path) -> Iterator[None]:
    """Something on the daemon's socket that answers one request as the daemon would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(state / "daemon.sock"))
        server.listen()

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                assert peer.recv(4096).startswith(b"GET /api/v1/agents HTTP/1.1\r\n")
                peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nNo agents\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(timeout=10)


@proves("OPS-006")
def test_a_list_of_a_running_daemon_is_printed_without_click() -> None:
    with tempfile.TemporaryDirectory(prefix="em-") as folder, _answering(Path(folder)):
        result = loaded(PROBE, "ls", state=Path(folder))

    assert result.stdout == "No agents\n"
    assert names(result) & {*HEAVY, "click", "json", "socket", "pathlib", "subprocess"} == set()
