"""What 50 agents with health checks cost the daemon while nothing happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from scripts.bench_rows.rows import Row, bench_host, git, row

_AGENTS = 50
_WATCH_S = 40.0
_SETTLE_S = 15.0
_SERVER = """\
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
while True:
    c = s.accept()[0]
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    c.close()
"""
_TEMPLATE = """\
envmgr: 1
name: idle
services:
  server:
    command: exec python3 -I -S server.py ${ports.http}
    ports: {http: {}}
    ready: {http: {port: http}}
agent:
  kind: command
  command: [sleep, '100000']
"""


def rows() -> Iterator[Row]:
    """CPU and memory of the daemon, with and without agents."""
    with bench_host() as host:
        repo = host.repository(0, {"idle": _TEMPLATE})
        (repo / "server.py").write_text(_SERVER, encoding="utf-8")
        git(repo, "add", "-A")
        git(repo, "-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-q", "-m", "server")
        host.spawn(repo, "idle")  # one full spawn, so that everything is imported in both measurements
        host.clear()
        bare_cpu, bare_bytes = _watch(host.daemon_pid())
        for _ in range(_AGENTS // 10):
            host.spawn(repo, "idle", count=10)
        cpu, size = _watch(host.daemon_pid())
        keepers = _keepers(host.folder)
        host.clear()
    yield row(
        "idle", f"daemon CPU per agent, {_AGENTS} agents, http checks on", value=(cpu - bare_cpu) / _AGENTS, unit="% of a core",
        reference=0.02, bar=1.0, note=f"idle daemon {bare_cpu:.2f} %, with agents {cpu:.2f} %, watched {_WATCH_S:.0f} s",
    )  # fmt: skip
    yield row(
        "idle", f"daemon memory per agent, {_AGENTS} agents", value=(size - bare_bytes) / _AGENTS / 2**20, unit="MB PSS",
        reference=0.3, bar=1.0, note=f"idle daemon {bare_bytes / 2**20:.1f} MB, with agents {size / 2**20:.1f} MB",
    )  # fmt: skip
    yield row(
        "idle", "keeper memory, the largest of them", value=max(keepers), unit="MB PSS", reference=12.0, bar=1.0,
        note=f"{len(keepers)} keepers",
    )  # fmt: skip


def _watch(pid: int) -> tuple[float, int]:
    """(CPU in percent of one core over the time of watching, PSS in bytes at its end)."""
    process = psutil.Process(pid)
    time.sleep(_SETTLE_S)
    before = process.cpu_times()
    time.sleep(_WATCH_S)
    after = process.cpu_times()
    spent = (after.user + after.system) - (before.user + before.system)
    return spent / _WATCH_S * 100, _pss(pid)


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _keepers(folder: Path) -> list[float]:
    found = [
        p.pid
        for p in psutil.process_iter(["cmdline"])
        if any("keeper" in word for word in p.info["cmdline"] or ())
        and any(str(folder) in word for word in p.info["cmdline"])
    ]
    return [_pss(pid) / 2**20 for pid in found] or [0.0]
