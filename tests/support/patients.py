"""A small server whose health is what files in its worktree say."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.host import Host, git

# `/ready` and `/live` fail while a file of that name with `no-` in front is there. Each launch leaves its pid in `launches`.
SERVER = """\
import http.server, os, pathlib, signal, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_well = not pathlib.Path(f"no-{self.path[1:]}").exists()
        self.send_response(200 if is_well else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
with open("launches", "a") as file:
    file.write(f"{os.getpid()}\\n")
server.serve_forever(0.02)
"""


def write_patient(folder: Path) -> Path:
    """Put the server into a folder."""
    path = folder / "patient.py"
    path.write_text(SERVER, encoding="utf-8")
    return path


def admit(host: Host) -> None:
    """Put it into the repository, committed; what it writes is ignored."""
    write_patient(host.repo)
    (host.repo / ".gitignore").write_text("launches\nno-*\n", encoding="utf-8")
    git(host.repo, "add", "-A")
    git(host.repo, "commit", "-q", "-m", "a server")


def launches(folder: Path) -> list[int]:
    """Pids of all launches, oldest first."""
    file = folder / "launches"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    return os.path.exists(f"/proc/{pid}")  # noqa: PTH110  one call
