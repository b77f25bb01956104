"""A registry with one tiny image, to pull from: the real protocol, on this host, without a real registry."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _image() -> tuple[bytes, dict[str, bytes]]:
    """Manifest and blobs of an image with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    layer = buffer.getvalue()
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]}}
    ).encode()

    def part(kind: str, blob: bytes) -> dict[str, object]:
        return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": part("application/vnd.docker.container.image.v1+json", config),
        "layers": [part("application/vnd.docker.image.rootfs.diff.tar", layer)],
    }
    return json.dumps(manifest).encode(), {_digest(config): config, _digest(layer): layer}


class _Registry(BaseHTTPRequestHandler):
    """`hello:1` can be pulled, `private` is refused, `slow` never comes, all else is unknown."""

    manifest, blobs = _image()
    is_over = threading.Event()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        word = self.path.rsplit("/", 1)[-1]
        if self.path == "/v2/":
            self._answer(200, b"{}")
        elif self.path.startswith("/v2/private/"):
            self._answer(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}')
        elif self.path.startswith("/v2/slow/"):
            self.is_over.wait(30)
            self._answer(500, b"{}")
        elif word in ("1", _digest(self.manifest)) and self.path.startswith("/v2/hello/manifests/"):
            self._answer(200, self.manifest, _MANIFEST)
        elif word in self.blobs:
            self._answer(200, self.blobs[word], "application/octet-stream")
        else:
            self._answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", _digest(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Say nothing."""


@contextmanager
def registry() -> Iterator[str]:
    """Address of a registry for the time of the block, such as `127.0.0.1:4711`; engines take it without TLS."""
    _Registry.is_over.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        _Registry.is_over.set()
        server.shutdown()
        thread.join()
