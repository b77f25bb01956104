"""Eight client processes that talk to the daemon over its socket, each with the key of an agent of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from scripts.bench_rows.rows import bench_host

T = TypeVar("T")

CLIENTS = 8
WORKER = """\
envmgr: 1
name: worker
agent:
  kind: command
  command: [sh, -c, 'printf %s "$ENVMGR_AGENT_KEY" >key.new && mv key.new key && exec sleep 100000']
"""


class Talker:
    """One kept connection to the daemon. Any: JSON."""

    def __init__(self, key: str = "", *, path: Path | None = None) -> None:
        """Without a key: the person whose daemon it is. `path` is another server's socket."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path or Path(os.environ["ENVMGR_STATE_DIR"]) / "daemon.sock"))
        self._key = f"X-API-Key: {key}\r\n" if key else ""

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask and wait for the answer, whatever it is."""
        text = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: envmgr\r\n{self._key}"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + text)
        return json.loads(self._body())  # type: ignore[no-any-return]

    def _body(self) -> bytes:
        got = self._socket.recv(65536)
        while b"\r\n\r\n" not in got:
            got += self._socket.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(body) < size:
            body += self._socket.recv(65536)
        return body


@contextmanager
def workers(count: int = CLIENTS) -> Iterator[list[str]]:
    """The keys of so many agents of one repository, on a host of its own."""
    os.environ["ENVMGR_HTTP__PER_S"] = "0"  # one agent is asked for what twenty would do
    with bench_host() as host:
        repo = host.repository(10, {"worker": WORKER})
        items = host.spawn(repo, "worker", count=count)
        trees = {item["agent"]["worktree"] for item in items if item["kind"] == "done"}
        yield [_written(Path(tree) / "key") for tree in sorted(trees)]


def _written(path: Path) -> str:
    while not path.exists():
        time.sleep(0.01)
    return path.read_text(encoding="ascii")


def together(work: Callable[..., T], shares: Sequence[tuple[Any, ...]]) -> list[T]:
    """What processes return, one for each share; they begin at the same time. `work` gets its share and waits at the gate."""
    gate = multiprocessing.get_context("spawn").Barrier(len(shares))
    with ProcessPoolExecutor(
        len(shares), mp_context=multiprocessing.get_context("spawn"), initializer=_keep, initargs=(gate,)
    ) as pool:
        return list(pool.map(_begin, [(work, share) for share in shares]))


_gates: list[Any] = []


def _keep(gate: Any) -> None:
    _gates.append(gate)


def _begin(task: tuple[Callable[..., T], tuple[Any, ...]]) -> T:
    work, share = task
    _gates[0].wait()
    return work(*share)
