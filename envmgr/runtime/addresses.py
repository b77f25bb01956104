"""Addresses of services for people."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envmgr.model.probe import AllOf, AnyOf, HttpProbe, Probe
from envmgr.model.service import PortSpec, ServiceSpec
from envmgr.runtime.incarnation import Incarnation

_NAMES = {"http": "http", "https": "https", "web": "http"}


def url(inc: Incarnation, service: ServiceSpec, port: PortSpec) -> str:
    """Where a person reaches a port of a service, such as `http://127.0.0.1:20000/`."""
    number = inc.port(service.name, port.name)
    probed = next((unit for unit in inc.services if unit.replica_of == service.name), service)
    spoken = scheme(service, port, probed)
    return f"{spoken}://127.0.0.1:{number}{'/' if spoken in ('http', 'https') else ''}"


def scheme(service: ServiceSpec, port: PortSpec, probed: ServiceSpec | None = None) -> str:
    """`http` or `https` when a probe, an export or the name of the port says so; else the port's protocol.

    Args:
        probed: Has the probe, where that is another unit: an instance of a replicated service.
    """
    ready = (probed or service).ready
    probes = {look.port: look.scheme for look in (_http(ready.probe) if ready else ())}
    reference = rf"\$\{{(?:services\.{re.escape(service.name)}\.)?ports\.{re.escape(port.name)}\}}"
    exports = (re.search(rf"\b(https?)://[^/\s]*{reference}", text) for text in service.exports.values())
    exported = next((found[1] for found in exports if found), "")
    return probes.get(port.name) or exported or _NAMES.get(port.name, port.protocol)


def _http(probe: Probe) -> Iterator[HttpProbe]:
    match probe:
        case HttpProbe():
            yield probe
        case AnyOf(probes=probes) | AllOf(probes=probes):
            for inner in probes:
                yield from _http(inner)
