"""Durable writes by 8 client processes over the daemon's socket."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.bench_rows.rows import Row, bench_host, median, row
from scripts.bench_rows.store import measure_group_commit

_CLIENTS = 8
_SECONDS = 1.5
_ROUNDS = 5


def rows() -> Iterator[Row]:
    """Through the socket with batches, through the socket one by one, and inside the daemon's process."""
    inside = measure_group_commit(rounds=5)
    with bench_host():
        batches = [_rate(100) for _ in range(_ROUNDS)]
        singles = [_rate(1) for _ in range(_ROUNDS)]
    raw = inside["raw"]
    reference = "reference: one raw sqlite3 connection, a durable commit for each"
    yield row(
        "store", "durable writes, 8 client processes over the socket, 100 a request", value=median(batches), unit="writes/s",
        reference=raw, bar=3.0, at_least=True, note=reference,
    )  # fmt: skip
    yield row(
        "store", "durable writes, 8 tasks inside the daemon's store, one each", value=inside["store_8"], unit="writes/s",
        reference=raw, bar=3.0, at_least=True, note=reference,
    )  # fmt: skip
    yield row(
        "store", "durable writes, 8 client processes over the socket, 1 a request", value=median(singles), unit="writes/s",
        reference=raw, bar=None, at_least=True, note="HTTP per write is the cost here",
    )  # fmt: skip


def _rate(size: int) -> float:
    path = str(Path(os.environ["ENVMGR_STATE_DIR"]) / "daemon.sock")
    with multiprocessing.Pool(_CLIENTS) as pool:
        counts = pool.starmap(_client, [(path, size)] * _CLIENTS)
    return sum(counts) / _SECONDS


def _client(path: str, size: int) -> int:
    """Post notes over one kept connection until time is up; how many were acknowledged."""
    notes = [{"kind": "note.bench", "data": {"step": "ports", "n": n}} for n in range(size)]
    body = json.dumps({"notes": notes}).encode()
    head = f"POST /api/v1/events HTTP/1.1\r\nHost: envmgr\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    done = 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            connection.sendall(request)
            answer = connection.recv(65536)
            while b"recorded" not in answer:
                answer += connection.recv(65536)
            done += size
    return done
