from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envmgr.assistants.hooks import hook_command
from envmgr.protocols.assistant import PENDING
from tests.support.report_listener import Heard, listening
from tests.support.requirements import proves


def call(path: Path, stdin: bytes, hook: str = "PreToolUse") -> None:
    """Run the client as an assistant does; it must end well and say nothing."""
    command = hook_command(sys.executable, path, agent="a1", generation=3, home=path.parent)
    run = subprocess.run([*command, hook], input=stdin, capture_output=True, check=False, timeout=10)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


# Any: it is JSON.
def pending(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / PENDING).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[list[Heard]]:
    with listening(tmp_path / "socket") as reports:
        yield reports


@proves("ASSIST-020")
def test_a_hook_call_reaches_the_daemon_with_agent_and_generation(tmp_path: Path, heard: list[Heard]) -> None:
    call(tmp_path / "socket", '{"tool_name": "Bash", "note": "grüße"}'.encode())

    assert [(r.path, r.generation, r.hook, r.payload) for r in heard] == [
        ("/api/v1/agents/a1/report", 3, "PreToolUse", {"tool_name": "Bash", "note": "grüße"})
    ]
    assert not (tmp_path / PENDING).exists()


@proves("ASSIST-020")
def test_the_sockets_path_may_be_longer_than_the_system_allows(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()

    with listening(folder / "socket") as heard:
        call(folder / "socket", b"{}")

    assert [report.hook for report in heard] == ["PreToolUse"]


@proves("ASSIST-021")
def test_long_values_are_cut_and_short_ones_are_whole(tmp_path: Path, heard: list[Heard]) -> None:
    payload = {
        "tool_name": "Write",
        "tool_input": {"content": "x" * 10_000},
        "message": "é" * 9_000,
        "prompt": "é" * 9_000,
        "agent_id": "s",
    }

    call(tmp_path / "socket", json.dumps(payload, indent=1).encode())

    got = heard[0].payload
    assert (got["tool_name"], got["agent_id"]) == ("Write", "s")
    assert got["tool_input"].startswith('{"content": "xxx')
    assert len(got["tool_input"]) == 4096
    assert got["message"] == "é" * 4096
    assert got["prompt"] == payload["prompt"], "it may have to be said again"


@proves("ASSIST-022")
def test_without_a_daemon_the_report_is_kept_for_its_return(tmp_path: Path) -> None:
    before = time.time()

    call(tmp_path / "socket", b'{"a":\n 1}', hook="Stop")
    call(tmp_path / "socket", b"", hook="SessionEnd")

    first, second = pending(tmp_path)
    assert before - 1 < first.pop("at") < time.time() + 1
    assert first == {"generation": 3, "hook": "Stop", "payload": {"a": 1}}
    assert (second["hook"], second["payload"]) == ("SessionEnd", {})


@proves("ASSIST-022")
def test_a_daemon_that_hangs_delays_the_assistant_by_two_seconds_and_loses_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        began = time.monotonic()

        call(tmp_path / "socket", b"{}")

        assert 1.9 < time.monotonic() - began < 5
    assert [line["hook"] for line in pending(tmp_path)] == ["PreToolUse"]


@proves("ASSIST-022")
def test_kept_reports_take_a_megabyte_at_most(tmp_path: Path) -> None:
    (tmp_path / PENDING).write_bytes(b"x" * (1024 * 1024 - 50))

    call(tmp_path / "socket", b'{"a": "too much for what is left"}')

    assert (tmp_path / PENDING).stat().st_size == 1024 * 1024 - 50


@proves("CHANGES-006")
@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": 1}\n', b'{"a": 1}\n'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 404 Not Found\r\n\r\nno such agent", b""),
    ],
)
def test_what_the_daemon_answers_is_printed_for_the_model(
    tmp_path: Path, answer: bytes, printed: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "socket"))
        daemon.listen()
        command = hook_command(sys.executable, tmp_path / "socket", agent="a1", generation=3, home=tmp_path)
        with subprocess.Popen(
            [*command, "UserPromptSubmit"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as run:
            assert run.stdin is not None
            run.stdin.write(b"{}")
            run.stdin.close()
            connection, _ = daemon.accept()
            with connection:
                heard = connection.recv(65536)
                connection.sendall(answer[:30])
                connection.sendall(answer[30:])
            assert run.stdout is not None
            said = run.stdout.read()

    assert b"Accept: text/plain\r\n" in heard
    assert (run.returncode, said) == (0, printed)
    assert not (tmp_path / PENDING).exists()


@proves("CHANGES-006")
def test_half_an_answer_is_not_printed_and_nothing_is_said_twice(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "socket"))
        daemon.listen()
        command = hook_command(sys.executable, tmp_path / "socket", agent="a1", generation=3, home=tmp_path)
        with subprocess.Popen([*command, "Stop"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as run:
            connection, _ = daemon.accept()
            connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"hookSpecific')
            assert run.stdout is not None
            assert run.stdout.read() == b""
            connection.close()

    assert not (tmp_path / PENDING).exists()


@proves("ASSIST-023")
@pytest.mark.parametrize("stdin", [b"not JSON\n\n", b"[1]\n", b"\xff\xfe\n", b"{" * 9000])
def test_odd_input_disturbs_nobody(tmp_path: Path, heard: list[Heard], stdin: bytes) -> None:
    call(tmp_path / "socket", stdin)


@proves("ASSIST-023")
def test_a_home_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    call(tmp_path / "gone" / "socket", b"{}")


@proves("ASSIST-024")
def test_it_loads_nothing_that_takes_time(tmp_path: Path) -> None:
    command = hook_command(sys.executable, tmp_path / "socket", agent="a1", generation=1, home=tmp_path)
    watched = [command[0], "-X", "importtime", *command[1:], "Stop"]

    table = subprocess.run(watched, input=b"{}", capture_output=True, check=True).stderr.decode()

    loaded = {line.split("|")[-1].strip() for line in table.splitlines()}
    assert "_socket" in loaded
    assert loaded.isdisjoint({"json", "os", "re", "site", "socket", "envmgr"})
