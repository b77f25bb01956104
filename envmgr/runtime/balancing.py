"""Tell an agent's balancers which instances are ready, and start the balancers themselves.

A balancer reads a file in the agent's folder for each new connection (docs/adr/0028); it is replaced as a whole here.
"""

from __future__ import annotations

import json
from pathlib import Path

from envmgr.aio import blocking
from envmgr.core.replicas import members
from envmgr.model.service import PortSpec, ServiceKind, ServiceSpec
from envmgr.protocols.keepers import Launch
from envmgr.runtime.incarnation import Incarnation

_FOLDER = "balancers"
_LOOPBACK = "127.0.0.1"


async def note(inc: Incarnation, unit: ServiceSpec, *, is_ready: bool) -> None:
    """An instance can take connections, or can no longer; of other units nothing follows."""
    if not unit.replica_of or (unit.name in inc.serving) == is_ready:
        return
    async with inc.balancing:
        (inc.serving.add if is_ready else inc.serving.discard)(unit.name)
        for front in (one for one in inc.services if one.name == unit.replica_of):
            await blocking.act("file", _write, inc, front)


async def recall(inc: Incarnation) -> None:
    """After a restart of the daemon: believe the files until a look says otherwise, so that nothing is cut off."""
    if inc.serving:
        return
    fronts = [unit for unit in inc.services if unit.kind is ServiceKind.BALANCER]
    for front in fronts:
        inc.serving |= await blocking.look("file", 5.0, _said, inc, front)


async def launch(inc: Incarnation, front: ServiceSpec) -> Launch:
    """What its keeper holds for a balancer; it gets none of the agent's variables but the marks by which it is found."""
    async with inc.balancing:
        await blocking.act("file", _write, inc, front)
    return Launch(
        service=front.name,
        generation=inc.generation,
        argv=tuple(inc.systems.balancer_command(_file(inc, front))),
        cwd=inc.home,
        env={"PATH": "/usr/bin:/bin", **inc.marker(f"service:{front.name}")},
        logs=front.logs,
    )


def _file(inc: Incarnation, front: ServiceSpec) -> Path:
    return inc.home / _FOLDER / f"{front.name}.json"


def _write(inc: Incarnation, front: ServiceSpec) -> None:
    if front.kind is not ServiceKind.BALANCER:
        return
    ready = [one for one in members(inc.services, front.name) if one.name in inc.serving]
    said = {
        "listen": {p.name: [_address(inc, p), inc.port(front.name, p.name)] for p in front.ports},
        "backends": {
            p.name: [[one.name, _LOOPBACK, inc.port(one.name, p.name)] for one in ready] for p in front.ports
        },
    }
    path = _file(inc, front)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(said), encoding="utf-8")
    fresh.replace(path)


def _address(inc: Incarnation, port: PortSpec) -> str:
    return port.bind or inc.spec.ports.bind


def _said(inc: Incarnation, front: ServiceSpec) -> set[str]:
    try:
        backends = json.loads(_file(inc, front).read_text(encoding="utf-8"))["backends"]
        return {str(name) for listed in backends.values() for name, _, _ in listed}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
