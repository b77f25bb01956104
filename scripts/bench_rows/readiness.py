"""How soon envmgr sees that a service listens, against the service's own stamp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scripts.bench_rows.rows import Row, bench_host, git, median, row

_ROUNDS = 7
_SERVER = """\
import socket, sys, time
began = time.time()
time.sleep(float(sys.argv[2]))
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
open("stamp", "w").write(f"{began} {time.time()}")
while True:
    s.accept()[0].close()
"""
_TEMPLATE = """\
envmgr: 1
name: ready
services:
  server:
    command: exec python3 -I -S server.py ${{ports.tcp}} {delay}
    ports: {{tcp: {{}}}}
    ready: {{tcp: {{port: tcp}}}}
agent:
  kind: command
  command: [sleep, '100000']
"""


def rows() -> Iterator[Row]:
    """For services that need 0.15 s and 1 s to listen."""
    with bench_host() as host:
        delays = (0.15, 1.0)
        repo = host.repository(0, {f"d{d}".replace(".", "-"): _TEMPLATE.format(delay=d) for d in delays})
        (repo / "server.py").write_text(_SERVER, encoding="utf-8")
        (repo / ".gitignore").write_text("stamp\n", encoding="utf-8")
        git(repo, "add", "-A")
        git(repo, "-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-q", "-m", "server")
        for delay in delays:
            lags, allowed = [], []
            for _ in range(_ROUNDS):
                items = host.spawn(repo, f"d{delay}".replace(".", "-"))
                seen = next(i["at"] for i in items if i["kind"] == "service" and i["state"] == "ready")
                tree = items[-1]["agent"]["worktree"]
                began, listened = map(float, (Path(tree) / "stamp").read_text(encoding="utf-8").split())
                lags.append((seen - listened) * 1000)
                allowed.append(10 + 0.05 * (listened - began) * 1000)
            host.clear()
            yield row(
                "readiness", f"readiness seen after listen(), service needs {delay} s", value=median(lags), unit="ms",
                reference=median(allowed), bar=1.0, note="reference: 10 ms + 5 % of its start time",
            )  # fmt: skip
