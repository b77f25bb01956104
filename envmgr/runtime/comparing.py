"""What was launched against what is there: the sentences of runtime drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from envmgr.model.ids import LABEL_GENERATION, LABEL_SERVICE
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.protocols.engine import Container
from envmgr.protocols.keepers import Held
from envmgr.runtime import owning, viewpoint
from envmgr.runtime.incarnation import Incarnation

# Ends that a program brings on itself; every other signal was sent by somebody.
_OWN_SIGNALS = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGPIPE", "SIGXCPU", "SIGXFSZ"}
_LASTING = (ServiceKind.PROCESS, ServiceKind.CONTAINER, ServiceKind.BALANCER)


def processes(inc: Incarnation, held: Mapping[str, Held], *, in_hand: set[str]) -> Iterator[str]:
    """Processes that somebody else has ended. A crash is no drift: the service is down, and told as such."""
    for unit in _watched(inc, in_hand):
        one = held.get(unit.name)
        if unit.container or one is None or one.is_alive or not one.exit_signal or one.out_of_memory:
            continue
        # A program that dies of what it is told with has the wrong `on_env_change`; nobody meddled.
        if one.exit_signal not in _OWN_SIGNALS | {unit.on_env_change.signal}:
            yield f"{unit.name} was ended from outside ({one.exit_signal})"


def containers(inc: Incarnation, found: Sequence[Container], *, in_hand: set[str]) -> Iterator[str]:
    """Containers that somebody else has removed, stopped, renamed or changed."""
    mine = {c.labels.get(LABEL_SERVICE, ""): c for c in found if _is_of(inc, c)}
    for unit in _watched(inc, in_hand):
        if unit.container is None:
            continue
        one = mine.get(unit.name)
        if one is None:
            yield f"the container of {unit.name} was removed"
        else:
            yield from _differences(inc, unit, one)


def _watched(inc: Incarnation, in_hand: set[str]) -> Iterator[ServiceSpec]:
    """Not what we change ourselves just now, and not what belongs to others too."""
    for unit in inc.services:
        if unit.kind in _LASTING and unit.name not in in_hand and not unit.is_shared:
            yield unit


def _is_of(inc: Incarnation, container: Container) -> bool:
    return container.labels.get(LABEL_GENERATION) == str(inc.generation)


def _differences(inc: Incarnation, unit: ServiceSpec, found: Container) -> Iterator[str]:
    name = owning.container(inc, unit.name)
    if found.name.lstrip("/") != name:
        yield f"the container of {unit.name} was renamed to {found.name.lstrip('/')}"
    if found.state == "paused" and not inc.is_frozen:
        yield f"the container of {unit.name} is paused"
    elif not found.is_alive:
        if not found.out_of_memory and found.exit_code in (0, 137, 143):  # an end that was asked for
            yield f"the container of {unit.name} was stopped"
        return
    yield from _ports(inc, unit, found)
    assert unit.container is not None, "only containers are compared"
    wanted = {owning.network(inc, network): network for network in unit.container.networks}
    for engine_name, network in wanted.items():
        if engine_name not in found.addresses:
            yield f"{unit.name} was taken from the network {network}"


def _ports(inc: Incarnation, unit: ServiceSpec, found: Container) -> Iterator[str]:
    for port in unit.ports:
        inside = viewpoint.inside(inc, unit, port)
        leased = inc.ports.get((unit.name, port.name))
        actual = found.published.get((inside, port.protocol))
        if leased is not None and actual != leased:
            yield f"port {port.name} of {unit.name} is published at {actual or 'nothing'}, not at {leased}"
