"""An engine that is reached over TCP, plain and with certificates, as DOCKER_HOST and DOCKER_TLS_VERIFY say."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from envmgr.errors import Unavailable
from envmgr.model.observe import Present, Unknown
from tests.support import docker
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


def _certificates(folder: Path) -> None:
    """`ca.pem`, `cert.pem` and `key.pem`: one that signed itself is all of them, for both sides."""
    words = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    )
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*words.split(), *names], cwd=folder, check=True, capture_output=True, timeout=60)
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())


async def _pump(source: ByteStream, target: ByteStream) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await target.send(await source.receive())
    await anyio.aclose_forcefully(target)


async def _carry(near: ByteStream) -> None:
    """One connection, to the real engine's socket and back."""
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    far = await anyio.connect_unix(path)
    async with near, far, anyio.create_task_group() as group:
        group.start_soon(_pump, far, near)
        await _pump(near, far)


@asynccontextmanager
async def relay(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A TCP port behind which is the engine."""
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1", family=socket.AF_INET)
    port = plain.extra(SocketAttribute.local_port)
    listener = TLSListener(plain, tls, standard_compatible=False) if tls else plain
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, _carry)
        yield port
        group.cancel_scope.cancel()


async def _use(here: docker.Ours) -> None:
    """Something short, something long, and something that is sent."""
    assert isinstance(await here.engine.look(), Present)
    container = await here.engine.run(here.launch("sh", "-c", "echo hello; sleep 60", init=True))
    assert await here.engine.execute(container.id, ["echo", "inside"], deadline_s=10) == (0, "inside\n")
    await here.engine.stop(container.id, signal="SIGTERM", grace_s=5)
    assert [line async for _, line in here.engine.output(container.id)] == [b"hello\n"]
    await here.engine.remove(container.id)


@proves("DOCK-023")
async def test_an_engine_behind_tcp_does_the_same() -> None:
    async with relay() as port:
        with docker.ours(f"tcp://127.0.0.1:{port}") as here, docker.nothing_in_engine(here.labels):
            await _use(here)


@proves("DOCK-023")
async def test_an_engine_behind_tls_does_the_same_and_only_for_who_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.load_verify_locations(tmp_path / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    async with relay(server) as port:
        with docker.ours(f"tcp://127.0.0.1:{port}") as stranger:
            assert isinstance(await stranger.engine.look(), Unknown)
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        with docker.ours(f"tcp://127.0.0.1:{port}") as here, docker.nothing_in_engine(here.labels):
            await _use(here)
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "none"))
        with docker.ours(f"tcp://127.0.0.1:{port}") as stranger, pytest.raises(Unavailable):
            await stranger.engine.remove("x")
