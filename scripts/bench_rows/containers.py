"""Container services against `docker run` as a person would type it, with the same probe, in the same run."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress

from scripts.bench_rows.rows import BenchHost, Row, bench_host, median, row

WEB = "envmgr-test/web"
_INSIDE = 80
_SERVICE = """\
  {name}:
    image: {image}
    ports: {{http: {{container: {inside}}}}}
    ready: {{http: /, deadline: 60s}}
    stop: {{signal: SIGKILL, grace: 1s}}
"""
_ROUNDS = 9
_CROWD, _EACH, _CROWD_ROUNDS = 10, 3, 5
_POLL_S = 0.01
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: it is this machine


def rows() -> Iterator[Row]:
    """One container, and thirty."""
    templates = {"one": _template(1), "three": _template(_EACH)}
    with bench_host() as host:
        repo = host.repository(100, templates)
        raw = Raw()
        yield _single(host, raw, lambda: host.spawn(repo, "one"))
        yield _crowd(host, raw, lambda: host.spawn(repo, "three", count=_CROWD))


def _template(count: int) -> str:
    services = "".join(_SERVICE.format(name=f"web{n}", image=WEB, inside=_INSIDE) for n in range(count))
    return f"envmgr: 1\nservices:\n{services}agent:\n  kind: command\n  command: [sleep, '100000']\n"


class Raw:
    """`docker run` and a look each 10 ms until the page answers."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def one(self) -> None:
        """Run one and wait until it is ready."""
        port = _free_port()
        words = ("docker", "run", "-d", "-p", f"127.0.0.1:{port}:{_INSIDE}", WEB)
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        self._ids.append(done.stdout.strip())
        while not _answers(port):
            time.sleep(_POLL_S)

    def clear(self) -> None:
        """Remove all of them."""
        if self._ids:
            subprocess.run(["docker", "rm", "-f", *self._ids], check=True, capture_output=True)
        self._ids.clear()


def _answers(port: int) -> bool:
    with (
        suppress(OSError, urllib.error.URLError),
        _OPENER.open(f"http://127.0.0.1:{port}/", timeout=2) as page,
    ):
        return bool(page.status == 200)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _single(host: BenchHost, raw: Raw, spawn: Callable[[], object]) -> Row:
    raws, ours = [], []
    for number in range(_ROUNDS + 1):
        raw_ms, our_ms = _timed(raw.one), _timed(spawn)
        raw.clear()
        host.clear()
        if number:  # the first of each warms caches
            raws.append(raw_ms)
            ours.append(our_ms)
    return row(
        "containers", "container service: request to RUNNING", value=median(ours), unit="ms",
        reference=median(raws), bar=1.3, note="reference: docker run + the same probe; ours with worktree and session",
    )  # fmt: skip


def _crowd(host: BenchHost, raw: Raw, spawn: Callable[[], object]) -> Row:
    raws, ours = [], []
    for _ in range(_CROWD_ROUNDS):
        raws.append(_timed(lambda: [raw.one() for _ in range(_CROWD * _EACH)]))
        raw.clear()
        ours.append(_timed(spawn))
        host.clear()
    return row(
        "containers", f"{_CROWD} agents x {_EACH} containers at once: all RUNNING", value=median(ours), unit="ms",
        reference=median(raws), bar=1.0, note="reference: the same 30 `docker run` one after another; none failed",
    )  # fmt: skip
