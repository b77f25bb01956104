"""Services for tests of replicas and restarts: small servers that tell who they are."""

from __future__ import annotations

import json
import textwrap
import urllib.request
from typing import Any

from tests.support.host import Host

# Answers with its instance and its pid; ends on TERM after the request at hand.
SERVER = """\
import http.server, json, os, signal, socketserver, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        said = {"replica": os.environ.get("ENVMGR_REPLICA"), "pid": os.getpid(), "env": dict(os.environ)}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False
    request_queue_size = 128

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("serving", flush=True)
server.serve_forever(0.02)
"""


def template(name: str, services: str) -> str:
    """A template with these services (YAML) and an assistant that sleeps."""
    body = textwrap.indent(textwrap.dedent(services), "  ")
    return (
        f"envmgr: 1\nname: {name}\nservices:\n{body}\nagent:\n  kind: command\n  command: [sleep, '1000']\n"
    )


def write_server(host: Host) -> None:
    """Put the server into the repository, committed."""
    from tests.support.host import git

    (host.repo / "server.py").write_text(SERVER, encoding="utf-8")
    git(host.repo, "add", "server.py")
    git(host.repo, "commit", "-q", "-m", "a server")


def ask(port: int, timeout_s: float = 10.0) -> Any:
    """GET / of the server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=timeout_s) as answer:
        return json.load(answer)


def service(host: Host, agent: str, name: str) -> Any:
    """As `envmgr show --json` tells it; instances too."""
    for one in host.agent(agent)["services"]:
        for each in (one, *one["instances"]):
            if each["name"] == name:
                return each
    raise AssertionError(f"{agent} shows no {name}")
