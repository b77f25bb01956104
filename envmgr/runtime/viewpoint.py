"""Where a service is, for the one who asks (docs/adr/0025).

On the host every service is at 127.0.0.1 and its leased port. In a container other containers are reached by name at their
inside ports, and what runs on the host is reached by the name that the engine gives the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envmgr.model.probe import AllOf, AnyOf, HttpProbe, Probe, TcpProbe
from envmgr.model.service import PortSpec, ServiceKind, ServiceSpec
from envmgr.runtime.incarnation import Incarnation

LOOPBACK = "127.0.0.1"
HOST_ALIAS = "host.docker.internal"
"""The host, seen from a container; given to each of ours as an extra host."""

Viewer = ServiceSpec | None
"""Who asks: a unit, or None for anybody on the host."""

_LOOPBACKS = (LOOPBACK, "localhost", "::1")


def host(inc: Incarnation, owner: ServiceSpec, viewer: Viewer) -> str:
    """Name or address at which the viewer finds a service."""
    outside = _external_host(owner)
    if viewer is None or viewer.container is None:
        return outside
    if _peer(inc, owner) is not None:
        return owner.name
    return HOST_ALIAS if outside in _LOOPBACKS else outside


def port(inc: Incarnation, owner: ServiceSpec, name: str, viewer: Viewer) -> int:
    """Number of the port at which the viewer finds it there."""
    leased = inc.port(owner.name, name)
    peer = _peer(inc, owner) if viewer is not None and viewer.container is not None else None
    if peer is None:
        return leased
    return inside(inc, peer, next(p for p in peer.ports if p.name == name))


def inside(inc: Incarnation, owner: ServiceSpec, spec: PortSpec) -> int:
    """The port a container listens on inside; without one in the template the leased number, given as a variable."""
    return spec.container if spec.container is not None else inc.port(owner.name, spec.name)


_LOOPBACK_ADDRESS = re.compile(
    r"(?:127\.0\.0\.1|localhost):(?=\$\{(?:services\.(?P<owner>[^.}]+)\.)?ports\.)"
)


def addressed(text: str, owner: str) -> str:
    """A loopback address in front of a service's port means that service, wherever the viewer is: its host, still late.

    Args:
        text: In late form, such as `redis://127.0.0.1:${ports.tcp}/0`.
        owner: Service that `${ports.X}` means here.
    """
    return _LOOPBACK_ADDRESS.sub(
        lambda found: (
            f"${{services.{found['owner'] or owner}.host}}:" if found["owner"] or owner else found[0]
        ),
        text,
    )


def _peer(inc: Incarnation, owner: ServiceSpec) -> ServiceSpec | None:
    """The container behind a name: its own, or the first instance's when a name stands in front of containers."""
    if owner.container is not None:
        return owner
    return next((u for u in inc.services if u.replica_of == owner.name and u.container is not None), None)


def _external_host(service: ServiceSpec) -> str:
    if service.kind is not ServiceKind.EXTERNAL or service.ready is None:
        return LOOPBACK
    return next(_hosts(service.ready.probe), LOOPBACK)


def _hosts(probe: Probe) -> Iterator[str]:
    match probe:
        case HttpProbe(host=name) | TcpProbe(host=name):
            yield name
        case AnyOf(probes=parts) | AllOf(probes=parts):
            for part in parts:
                yield from _hosts(part)
