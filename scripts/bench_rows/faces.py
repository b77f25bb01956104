"""What a call costs through HTTP and MCP, against an empty endpoint and an empty tool on the same libraries."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from scripts.bench_rows.rows import ENVMGR, Row, median, row
from scripts.bench_rows.talking import CLIENTS, Talker, together, workers

_CALLS = 400
_SECONDS = 2.0
_ROUNDS = 5
_ACQUIRE = "/api/v1/locks/acquire"
_WARM = 20
_BARE = "reference: an empty endpoint on bare uvicorn and httptools"
_LOCK = {"targets": ["db:bench"]}
_ENDPOINT = """\
import sys, uvicorn

async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json"), (b"content-length", b"11")]})
    await send({"type": "http.response.body", "body": b'{"ok":true}'})

uvicorn.run(app, uds=sys.argv[1], http="httptools", loop="asyncio", lifespan="off", access_log=False, log_level="error", ws="none")
"""
_TOOL = """\
from mcp.server import MCPServer

server = MCPServer("empty")

@server.tool()
def empty(targets: list[str]) -> dict[str, bool]:
    return {"ok": True}

server.run("stdio")
"""


def rows() -> Iterator[Row]:
    """Rounds and calls alternate, so that both meet the same noise."""
    with workers() as keys:
        yield from _http(keys)
        yield from asyncio.run(_mcp(keys[0]))


def _http(keys: list[str]) -> Iterator[Row]:
    """One after the other, and many at a time, as agents ask: what one waits for the disk, others do meanwhile."""
    ours, empty = [], []
    with _endpoint() as socket:
        yield _one_by_one(keys[0], socket)
        for _ in range(_ROUNDS):
            empty.append(1000 / _rate([("", "/", str(socket), number) for number in range(CLIENTS)]))
            ours.append(1000 / _rate([(key, _ACQUIRE, "", number) for number, key in enumerate(keys)]))
    yield row(
        "coordinate", f"acquire over HTTP, {CLIENTS} clients, durable, with audit row", value=median(ours), unit="ms",
        reference=median(empty), bar=None, note=f"{_BARE}; time per call of all together",
    )  # fmt: skip


def _one_by_one(key: str, socket: Path) -> Row:
    """The lock is the client's already, and lasts longer with each call."""
    askers = {"empty": ("/", Talker(path=socket)), "ours": (_ACQUIRE, Talker(key))}
    times: dict[str, list[float]] = {name: [] for name in askers}
    for number in range(_CALLS + _WARM):
        for name, (path, talker) in askers.items():
            began = time.perf_counter()
            assert talker.post(path, _LOCK)["ok"]
            if number >= _WARM:
                times[name].append((time.perf_counter() - began) * 1000)
    return row(
        "coordinate", "acquire over HTTP, durable, with audit row", value=median(times["ours"]), unit="ms",
        reference=median(times["empty"]), bar=2.5, note=_BARE,
    )  # fmt: skip


def _rate(shares: list[tuple[str, str, str, int]]) -> float:
    return sum(together(_ask, shares)) / _SECONDS


def _ask(key: str, path: str, socket: str, number: int) -> int:
    talker = Talker(key, path=Path(socket) if socket else None)
    count, end = 0, time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        assert talker.post(path, {"targets": [f"db:bench{number}"]})["ok"]
        count += 1
    return count


@contextmanager
def _endpoint() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="eb-", dir="/tmp") as folder:
        path = Path(folder) / "empty.sock"
        server = subprocess.Popen([sys.executable, "-c", _ENDPOINT, str(path)])
        try:
            while not path.exists():
                time.sleep(0.01)
            yield path
        finally:
            server.terminate()
            server.wait()


async def _mcp(key: str) -> list[Row]:
    environment = {**os.environ, "ENVMGR_AGENT_KEY": key}
    ours = StdioServerParameters(command=ENVMGR, args=["mcp"], env=environment)
    empty = StdioServerParameters(command=sys.executable, args=["-c", _TOOL], env=dict(os.environ))
    async with Client(stdio_client(ours)) as one, Client(stdio_client(empty)) as other:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "empty": lambda: other.call_tool("empty", _LOCK),
            "check": lambda: one.call_tool("check_locks", {}),
            "acquire": lambda: one.call_tool("acquire_lock", _LOCK),
            "release": lambda: one.call_tool("release_lock", _LOCK),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(_CALLS + _WARM):
            for name, call in calls.items():
                began = time.perf_counter()
                assert not (await call()).is_error
                if number >= _WARM:
                    times[name].append((time.perf_counter() - began) * 1000)
    note = "reference: an empty tool of the same SDK"
    return [
        row(
            "coordinate", f"MCP over stdio: {words}", value=median(times[name]), unit="ms",
            reference=median(times["empty"]), bar=2.0, note=note,
        )
        for name, words in (("check", "check_locks"), ("acquire", "acquire_lock, durable, with audit row"))
    ]  # fmt: skip
