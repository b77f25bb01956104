"""MCP as no client would speak it: bytes that are no messages, messages that are too long, callers that leave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import types

from envmgr.interfaces.mcp.stdio import MOST_BYTES
from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.wait import eventually

# Any throughout: JSON documents.


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with host() as made:
        made.sleeper()
        made.ok("spawn", "--template", "sleeper", "--name", "otter")
        yield made


_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HANDSHAKE: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Bytes:
    """A server whose lines are written and read as they are."""

    def __init__(self, here: Host, *, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("envmgr"), "mcp"],
            cwd=cwd or here.repo,
            env=here.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def say(self, line: bytes) -> Any:
        """Write a line and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def call(self, method: str, **params: Any) -> Any:
        """A request and its result."""
        request = {"jsonrpc": "2.0", "id": "q", "method": method, "params": params}
        return self.say(json.dumps(request).encode())["result"]

    def begin(self) -> Any:
        """The handshake of clients of today."""
        result = self.call("initialize", **HANDSHAKE)
        assert self.process.stdin is not None
        self.process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        return result

    def end(self) -> int:
        """Close its input; it ends by itself."""
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def server(here: Host) -> Iterator[Bytes]:
    made = Bytes(here)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


@proves("MCP-004")
def test_what_is_no_message_is_answered_and_the_server_lives_on(server: Bytes) -> None:
    server.begin()

    garbled = server.say(b'{"jsonrpc": "2.0", "id"')
    binary = server.say(bytes(range(128, 200)))
    deep = server.say(b"[" * 100_000)
    no_message = server.say(b'{"id": 7, "hello": true}')
    a_list = server.say(b"[1, 2]")
    odd_id = server.say(b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}')
    no_method = server.say(b'{"jsonrpc": "2.0", "id": 8, "method": "no/such"}')
    wrong = server.say(b'{"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": 5}}')
    server.process.stdin.write(b"\n  \n") if server.process.stdin else None

    codes = [answer["error"]["code"] for answer in (garbled, binary, deep)]
    assert codes == [types.PARSE_ERROR] * 3
    assert (no_message["id"], no_message["error"]["code"]) == (7, types.INVALID_REQUEST)
    assert a_list["error"]["code"] == types.INVALID_REQUEST
    assert (odd_id["id"], odd_id["error"]["code"]) == (None, types.INVALID_REQUEST)
    assert (no_method["id"], no_method["error"]["code"]) == (8, types.METHOD_NOT_FOUND)
    assert (wrong["id"], wrong["error"]["code"]) == (9, types.INVALID_PARAMS)
    assert not server.call("tools/call", name="help")["isError"]
    assert server.end() == 0


_CALL = b'{"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": '
_NOT_THIS: list[tuple[bytes, object, int, str]] = [
    (b'{"jsonrpc": "2.0", "id"', None, types.PARSE_ERROR, "this is not JSON: "),
    (bytes(range(128, 200)), None, types.PARSE_ERROR, "this is not JSON: "),
    (b"[" * 100_000, None, types.PARSE_ERROR, "this is not JSON: "),
    (_CALL + b'{"name": "\\ud800"}}', 9, types.PARSE_ERROR, "half a character"),
    (b"[1, 2]", None, types.INVALID_REQUEST, "batches are not taken; send each message by itself"),
    (b"3", None, types.INVALID_REQUEST, "a message is a JSON object; send one such as {"),
    (b'{"id": 7, "method": "ping"}', 7, types.INVALID_REQUEST, '`jsonrpc` must be "2.0"'),
    (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', None, types.INVALID_REQUEST, "`id` must be a text or a whole number"),
    (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', None, types.INVALID_REQUEST, "`id` must be a text or a whole number"),
    (b'{"jsonrpc": "2.0", "method": "tools/list"}', None, types.INVALID_REQUEST, "`id` is missing, and tools/list is answered"),
    (b'{"jsonrpc": "2.0", "id": 4}', 4, types.INVALID_REQUEST, "`method` must be a text"),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "no/such"}', 8, types.METHOD_NOT_FOUND, "no method is called 'no/such'; there are initialize, "),
    (_CALL + b"[1]}", 9, types.INVALID_PARAMS, "`params` must be an object"),
    (_CALL + b"{}}", 9, types.INVALID_PARAMS, "tools/call: params.name is missing"),
    (_CALL + b'{"name": 5}}', 9, types.INVALID_PARAMS, "tools/call: params.name must be text"),
    (_CALL + b'{"name": "help", "arguments": []}}', 9, types.INVALID_PARAMS, "params.arguments must be an object"),
    (_CALL + b'{"name": "nosuch"}}', 9, types.INVALID_PARAMS, "no tool is called 'nosuch'"),
]  # fmt: skip


@proves("MCP-004")
def test_both_transports_say_in_the_same_plain_words_what_is_wrong_with_a_message(
    here: Host, server: Bytes
) -> None:
    server.begin()
    transport = httpx.HTTPTransport(uds=str(here.state / "daemon.sock"))
    head = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    with httpx.Client(transport=transport, base_url="http://localhost", headers=head) as client:
        for data, request, code, says in _NOT_THIS:
            asked = client.post("/mcp", content=data)
            answers = {
                "stdio": server.say(data),
                "http": json.loads(asked.text.partition("data: ")[2] or asked.text),
            }
            for transport_name, answer in answers.items():
                told = (answer["id"], answer["error"]["code"])
                assert told == (request, code), (transport_name, data[:80], answer)
                assert says in answer["error"]["message"], (transport_name, data[:80], answer)
            assert answers["stdio"] == answers["http"]
            assert asked.status_code == (200 if "data: " in asked.text else 400)


@proves("MCP-004")
def test_who_asks_before_the_handshake_is_told_to_begin_with_it(server: Bytes) -> None:
    early = server.say(b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}')

    assert early["error"]["code"] == types.INVALID_REQUEST
    assert "first send `initialize`" in early["error"]["message"]
    server.begin()
    assert server.call("tools/list")["tools"]


@proves("MCP-004")
def test_the_error_that_a_client_answers_with_is_not_given_back_to_it(server: Bytes) -> None:
    server.begin()
    assert server.process.stdin is not None
    server.process.stdin.write(b'{"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "no"}}\n')

    assert server.call("ping") == {}


@proves("MCP-004")
def test_a_message_that_is_too_long_is_refused_without_being_kept(server: Bytes) -> None:
    server.begin()

    refused = server.say(b'{"jsonrpc": "2.0", "id": 1, "method": "' + b"x" * (16 * MOST_BYTES) + b'"}')

    assert refused["error"] == {
        "code": types.INVALID_REQUEST,
        "message": f"a message may have at most {MOST_BYTES} bytes; send less at once",
    }
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 200 * 1024
    assert not server.call("tools/call", name="help")["isError"]


@proves("MCP-009")
def test_files_of_the_repository_are_not_taken_for_our_modules(here: Host) -> None:
    folder = here.repo / "trap"
    folder.mkdir()
    for name in ("mcp", "http", "json", "anyio", "envmgr"):
        (folder / f"{name}.py").write_text("raise SystemExit('trapped')\n", encoding="utf-8")

    made = Bytes(here, cwd=folder)
    answer = made.begin()

    assert answer["serverInfo"]["name"] == "envmgr"
    assert made.end() == 0


@proves("MCP-004")
def test_what_was_asked_before_the_input_ended_is_answered(here: Host) -> None:
    call = {"name": "check_locks", "arguments": {}}
    asked = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": HANDSHAKE},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    lines = "".join(json.dumps(one) + "\n" for one in asked) + "{half"

    done = Bytes(here).process.communicate(lines.encode(), timeout=20)[0]

    answers = [json.loads(line) for line in done.splitlines()]
    assert {one["id"] for one in answers} == {1, 2, 3, None}
    assert next(one for one in answers if one["id"] == 1)["result"] == {}
    assert "result" in next(one for one in answers if one["id"] == 2)


@proves("MCP-005")
def test_a_client_that_leaves_while_it_waits_leaves_nothing(here: Host) -> None:
    here.ok("lock", "acquire", "src/gone.py")
    here.ok("lock", "transfer", "src/gone.py", "--to-agent", "otter")
    made = Bytes(here)
    made.begin()
    wait = {"name": "acquire_lock", "arguments": {"targets": ["src/gone.py"], "wait_s": 600}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wait}
    assert made.process.stdin is not None
    made.process.stdin.write(json.dumps(request).encode() + b"\n")
    made.process.stdin.flush()

    def waiters() -> Any:
        return here.ok("lock", "why", "src/gone.py", "--json").json["waiting"]

    eventually(lambda: len(waiters()) == 1)
    assert made.end() == 0
    eventually(lambda: waiters() == [])


@proves("MCP-004")
def test_the_endpoint_answers_what_it_does_not_understand(here: Host) -> None:
    transport = httpx.HTTPTransport(uds=str(here.state / "daemon.sock"))
    head = {"accept": "application/json, text/event-stream"}
    with httpx.Client(transport=transport, base_url="http://localhost", headers=head) as client:
        looked = client.get("/mcp")
        garbled = client.post("/mcp", content=b"{", headers={"content-type": "application/json"})
        plain = client.post("/mcp", content=b"{}", headers={"content-type": "text/plain"})
        huge = client.post(
            "/mcp", content=b"[" + b" " * 5_000_000, headers={"content-type": "application/json"}
        )
        elsewhere = client.post("/mcp", json={}, headers={"origin": "https://evil.example"})
        one_form = client.post("/mcp", json=_PING, headers={"accept": "application/json"})
        nobody = client.post("/mcp", json={}, headers={"x-api-key": "wrong"})
        well = client.get("/api/v1/version")

    assert (looked.status_code, looked.headers["allow"]) == (405, "POST")
    assert "POST only" in looked.json()["message"]
    assert (garbled.status_code, garbled.json()["error"]["code"]) == (400, types.PARSE_ERROR)
    assert (plain.status_code, plain.json()["error"]["code"]) == (415, types.INVALID_REQUEST)
    assert "`Content-Type: application/json`" in plain.json()["error"]["message"]
    assert (one_form.status_code, one_form.json()["error"]["code"]) == (406, types.INVALID_REQUEST)
    assert "`Accept: application/json, text/event-stream`" in one_form.json()["error"]["message"]
    assert (huge.status_code, huge.json()["error"]["code"]) == (413, types.INVALID_REQUEST)
    assert f"at most {MOST_BYTES} bytes" in huge.json()["error"]["message"]
    assert elsewhere.status_code == 403
    assert nobody.status_code == 401
    assert well.status_code == 200
