"""How fast envmgr notices, restarts and adopts, and what it costs to look after a hundred agents."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from envmgr.app import client
from scripts.bench_rows.rows import BenchHost, Row, bench_host, git, median, row

_CRASHES = 60
_RESTARTS = 7
_ADOPTED = 50
_WATCHED = 100
_WATCH_S = 40.0
_REAP_S = 300.0
_SERVER = """\
import socket, sys, time
time.sleep(float(sys.argv[2]))
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
while True:
    s.accept()[0].close()
"""
_START_S = 0.5
_TEMPLATE = """\
envmgr: 1
name: {name}
services:
  server:
    command: exec python3 -I -S server.py ${{ports.tcp}} {delay}
    ports: {{tcp: {{}}}}
    ready: {{tcp: {{port: tcp}}}}
    restart: {{policy: always, initial: 10ms, max: 10ms, budget: 100/1h, flap: 100/1h}}
agent:
  kind: command
  command: [sleep, '100000']
"""
_SLEEPER = "envmgr: 1\nname: sleeper\nagent:\n  kind: command\n  command: [sleep, '100000']\n"


def rows() -> Iterator[Row]:
    """Crashes and restarts of one service; then adoption; then a crowd at rest."""
    with bench_host() as host:
        repo = _repository(host)
        yield _noticed(host, repo)
        yield _restarted(host, repo)
    with bench_host() as host:
        yield _adopted(host, _repository(host))
    os.environ["ENVMGR_HOST__MAX_AGENTS"] = str(2 * _WATCHED)
    with bench_host() as host:
        yield _looked_after(host, _repository(host))


def _repository(host: BenchHost) -> Path:
    templates = {
        "quick": _TEMPLATE.format(name="quick", delay=0),
        "slow": _TEMPLATE.format(name="slow", delay=_START_S),
    }
    repo = host.repository(0, {**templates, "sleeper": _SLEEPER})
    (repo / "server.py").write_text(_SERVER, encoding="utf-8")
    git(repo, "add", "-A")
    git(repo, "-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-q", "-m", "server")
    return repo


def _noticed(host: BenchHost, repo: Path) -> Row:
    agent = host.spawn(repo, "quick")[-1]["agent"]["name"]
    lags: list[float] = []
    for _ in range(_CRASHES):
        pid = _until(lambda: _ready_pid(agent))
        after = _last_event(agent)
        struck = time.time()
        os.kill(pid, signal.SIGKILL)
        seen = _until(lambda after=after: _failure_after(agent, after))  # type: ignore[misc]
        lags.append((seen - struck) * 1000)
    host.clear()
    p95 = sorted(lags)[int(len(lags) * 0.95)]
    return row(
        "recovery", "crash of a service to its event, p95", value=p95, unit="ms", reference=5.0, bar=1.0,
        note=f"{_CRASHES} crashes, median {median(lags):.2f} ms",
    )  # fmt: skip


def _restarted(host: BenchHost, repo: Path) -> Row:
    own = median([_own_start(repo) for _ in range(_RESTARTS)])
    agent = host.spawn(repo, "slow")[-1]["agent"]["name"]
    took = []
    for _ in range(_RESTARTS):
        began = time.monotonic()
        client.request("POST", f"/api/v1/agents/{agent}/restart", {"services": ["server"]}).body()
        took.append((time.monotonic() - began) * 1000)
    host.clear()
    return row(
        "recovery", f"restart of a service that needs {_START_S} s", value=median(took), unit="ms", reference=own, bar=1.2,
        note="reference: the program started by hand until it listens",
    )  # fmt: skip


def _adopted(host: BenchHost, repo: Path) -> Row:
    bare = _start_again(host, expect=0)
    for _ in range(_ADOPTED // 10):
        host.spawn(repo, "quick", count=10)
    took = [_start_again(host, expect=_ADOPTED) for _ in range(5)]
    host.clear()
    return row(
        "recovery", f"adoption of {_ADOPTED} agents with a service: what it adds to a daemon's start", value=median(took) - bare,
        unit="s", reference=1.0, bar=1.0, note=f"from SIGKILL of the old daemon to a full `ls` of the new one {median(took):.2f} s, without agents {bare:.2f} s",
    )  # fmt: skip


def _looked_after(host: BenchHost, repo: Path) -> Row:
    host.spawn(repo, "sleeper")
    host.clear()
    daemon = psutil.Process(host.daemon_pid())
    bare = _busy(daemon)
    for _ in range(_WATCHED // 10):
        host.spawn(repo, "sleeper", count=10)
    busy = _busy(daemon)
    before = _cpu_s(daemon)
    client.request("GET", "/api/v1/resources").body()
    audit_s = _cpu_s(daemon) - before
    host.clear()
    return row(
        "recovery", f"reconcile passes over {_WATCHED} agents", value=busy - bare + audit_s / _REAP_S * 100, unit="% of a core",
        reference=2.0, bar=1.0,
        note=f"status, drift and samples {busy - bare:.2f} %, a reaper's look {audit_s * 1000:.0f} ms each {_REAP_S:.0f} s",
    )  # fmt: skip


# --- looking ---------------------------------------------------------------------------------------------


def _ready_pid(agent: str) -> int:
    """Of the service, once it is ready; 0 until then."""
    said = json.loads(client.request("GET", f"/api/v1/agents/{agent}").body())
    if said["services"][0]["state"] != "ready":
        return 0
    port = int(said["services"][0]["ports"]["tcp"])
    for link in psutil.net_connections(kind="tcp4"):
        if link.status == psutil.CONN_LISTEN and tuple(link.laddr)[1:] == (port,) and link.pid:
            return int(link.pid)
    return 0


def _events(agent: str, after: int) -> list[dict[str, Any]]:
    answer = client.request("GET", f"/api/v1/events?agent={agent}&after={after}&limit=1000")
    return [json.loads(line) for line in answer.lines()]


def _last_event(agent: str) -> int:
    return max(int(event["seq"]) for event in _events(agent, 0))


def _failure_after(agent: str, after: int) -> float:
    return next((e["at"] for e in _events(agent, after) if e["kind"] == "service.failed"), 0.0)


def _until(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.005)
    raise AssertionError("nothing came within 30 s")


def _own_start(repo: Path) -> float:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    began = time.monotonic()
    words = [sys.executable, "-I", "-S", "server.py", str(port), str(_START_S)]
    process = subprocess.Popen(words, cwd=repo)
    try:
        _until(lambda: _listens(port))
        return (time.monotonic() - began) * 1000
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def _start_again(host: BenchHost, *, expect: int) -> float:
    process = psutil.Process(host.daemon_pid())
    process.kill()
    process.wait()
    began = time.monotonic()
    client.ensure()
    agents = json.loads(client.request("GET", "/api/v1/agents").body())["agents"]
    assert len(agents) == expect, len(agents)
    assert all(agent["lifecycle"] == "running" for agent in agents)
    return time.monotonic() - began


def _busy(process: psutil.Process) -> float:
    before = _cpu_s(process)
    time.sleep(_WATCH_S)
    return (_cpu_s(process) - before) / _WATCH_S * 100


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
