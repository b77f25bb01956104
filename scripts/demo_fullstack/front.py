"""The page: shows the orders that the API tells, and adds one by `?order=...`."""

import html
import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

API = os.environ["API_URL"]
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: it is this machine


class Front(BaseHTTPRequestHandler):
    """One page."""

    def do_GET(self) -> None:
        for order in parse_qs(urlsplit(self.path).query).get("order", []):
            OPENER.open(f"{API}/orders", order.encode(), timeout=5).close()
        with OPENER.open(f"{API}/orders", timeout=5) as answer:
            known = json.load(answer)
        listed = ", ".join(known["orders"]) or "nothing yet"
        body = f"<h1>{html.escape(listed)}</h1><p>look {known['looks']}</p>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Front).serve_forever()
