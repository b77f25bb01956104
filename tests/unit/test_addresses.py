"""How the addresses that people are told begin."""

from __future__ import annotations

import pytest

from envmgr.model.probe import AnyOf, HttpProbe, Probe, Readiness, TcpProbe
from envmgr.model.service import PortSpec, ServiceKind, ServiceSpec
from envmgr.runtime.addresses import scheme
from tests.support.requirements import proves


def service(*, probe: Probe | None = None, export: str = "") -> ServiceSpec:
    return ServiceSpec(
        name="web",
        kind=ServiceKind.PROCESS,
        ready=Readiness(probe=probe) if probe else None,
        exports={"WEB_URL": export} if export else {},
    )


@proves("CLI-094")
@pytest.mark.parametrize(
    ("given", "port", "said"),
    [
        (service(), "main", "tcp"),
        (service(), "http", "http"),
        (service(), "https", "https"),
        (service(), "web", "http"),
        (service(probe=TcpProbe(port="main")), "main", "tcp"),
        (service(probe=AnyOf(probes=(HttpProbe(port="main"), TcpProbe(port="main")))), "main", "http"),
        (service(probe=HttpProbe(port="http", scheme="https")), "http", "https"),
        (service(export="http://${host}:${ports.main}/docs"), "main", "http"),
        (service(export="https://127.0.0.1:${services.web.ports.main}"), "main", "https"),
        (service(export="http://${host}:${ports.other}"), "main", "tcp"),
        (service(export="redis://${host}:${ports.main}"), "main", "tcp"),
    ],
)
def test_a_port_speaks_http_when_probe_export_or_name_say_so(
    given: ServiceSpec, port: str, said: str
) -> None:
    assert scheme(given, PortSpec(name=port)) == said


@proves("CLI-094")
def test_a_port_for_datagrams_is_no_tcp_address() -> None:
    assert scheme(service(), PortSpec(name="dns", protocol="udp")) == "udp"
