"""Orders as JSON: GET /orders lists them and counts the look in Redis, POST /orders adds the body as one."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import cache, database


class Api(BaseHTTPRequestHandler):
    """Three routes."""

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer({"ok": True})
            return
        with database() as rows:
            found = [what for (what,) in rows.run("SELECT what FROM orders ORDER BY id")]
        self._answer({"orders": found, "looks": cache().incr("looks")})

    def do_POST(self) -> None:
        what = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with database() as rows:
            rows.run("INSERT INTO orders (what) VALUES (:what)", what=what)
        self._answer({"ordered": what})

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Api).serve_forever()
