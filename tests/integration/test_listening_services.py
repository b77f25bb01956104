"""Ports that are opened before their services: taken ones are moved, and given up ones are free again."""

from __future__ import annotations

import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.errors import PortTaken
from envmgr.model.probe import HttpProbe, Readiness
from envmgr.model.service import PortSpec, ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime import runners
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.services import discard_units, stop_services, stop_units
from tests.support.incarnations import incarnation
from tests.support.keepers import py
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_SERVE = py(
    "import socket\n"
    "server = socket.socket(fileno=3)\n"
    "while True:\n"
    "    peer, _ = server.accept()\n"
    "    peer.recv(4096)\n"
    "    peer.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello')\n"
    "    peer.close()\n"
)


def _web(port: PortSpec) -> ServiceSpec:
    ready = Readiness(probe=HttpProbe(port="http"), deadline_s=20.0)
    return ServiceSpec(name="web", kind=ServiceKind.PROCESS, command=_SERVE, ports=(port,), ready=ready)


async def _start(inc: Incarnation) -> ServiceState:
    run = ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None)
    return (await run.start())["web"].state


@proves("R-32", "KEEP-019")
async def test_a_port_that_was_taken_after_its_lease_is_moved(tmp_path: Path) -> None:
    async with incarnation(tmp_path, _web(PortSpec(name="http", listen=True))) as inc:
        await claim_ports(inc)
        leased = inc.port("web", "http")
        with socket.create_server(("127.0.0.1", leased)):
            state = await _start(inc)

        assert state is ServiceState.READY
        assert inc.port("web", "http") != leased
        await stop_services(inc)


@proves("R-32", "KEEP-019")
async def test_a_fixed_port_that_was_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    port = PortSpec(name="http", prefer=number, fixed=True, listen=True)
    async with incarnation(tmp_path, _web(port)) as inc:
        await claim_ports(inc)
        with socket.create_server(("127.0.0.1", number)), pytest.raises(PortTaken) as taken:
            await _start(inc)

        assert taken.value.port == number
        await stop_services(inc)


@proves("KEEP-019")
async def test_a_port_is_kept_by_a_restart_and_free_when_its_service_is_given_up(tmp_path: Path) -> None:
    async with incarnation(tmp_path, _web(PortSpec(name="http", listen=True))) as inc:
        await claim_ports(inc)
        await _start(inc)
        number = inc.port("web", "http")

        await stop_units(inc, ["web"])
        with socket.create_connection(("127.0.0.1", number)) as waiting:
            waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert await _start(inc) is ServiceState.READY
            assert (await anyio.to_thread.run_sync(waiting.recv, 100)).startswith(b"HTTP/1.0 200")
        await stop_units(inc, ["web"])
        await discard_units(inc, ["web"])

        with socket.create_server(("127.0.0.1", number)):
            pass
        await stop_services(inc)
