"""A shared container takes part in the networks of all agents that use it, under its own name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from envmgr.errors import Conflict, NotFound, Unobservable
from envmgr.model.ids import LABEL_AGENT, LABEL_GENERATION, LABEL_INSTANCE, AgentId, network_name
from envmgr.model.observe import Present, Unknown
from envmgr.model.service import ServiceSpec
from envmgr.protocols.engine import Found
from envmgr.runtime import owning, sharing
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.supplies import Supplies

_TRIES = 3


async def connect(inc: Incarnation, service: ServiceSpec) -> None:
    """Connect it for this agent, if that has containers, and for the others again: it may have been made anew."""
    spec, engine = service.container, inc.systems.containers
    assert spec is not None, "only containers are connected"
    common = sharing.common(inc, service)
    if any(unit.container is not None and not unit.is_shared for unit in inc.services):
        await Supplies(inc).networks(service)
    share = await inc.systems.store.read(lambda tx: sharing.read(tx, common.id))
    holders = share.holders if share else ()
    match await engine.networks({LABEL_INSTANCE: inc.instance}):
        case Present(found):
            for network in found:
                if network.labels.get(LABEL_AGENT) in holders and network.name in _names(
                    network, spec.networks
                ):
                    aliases = (service.name, *spec.aliases)
                    container = owning.container(common, service.name)
                    # An agent that is being stopped takes its network away meanwhile; that is no trouble of this one.
                    is_anothers = network.labels.get(LABEL_AGENT) != inc.id
                    with suppress(*([NotFound] if is_anothers else [])):
                        await engine.connect_network(network.name, container, aliases=aliases)
        case Unknown(reason):
            raise Unobservable(
                f"the engine does not tell its networks: {reason}", hint="Run `envmgr doctor`."
            )


async def disconnect(inc: Incarnation, networks: Sequence[str]) -> None:
    """Take all shared containers out of an agent's networks, which are about to be removed."""
    for service in sharing.shared_services(inc):
        if service.container is not None:
            container = owning.container(sharing.common(inc, service), service.name)
            for network in networks:
                await inc.systems.containers.disconnect_network(network, container)


async def remove(inc: Incarnation, network: str) -> None:
    """Remove one of the agent's networks, also when another agent's start has just connected a shared container again."""
    for _ in range(_TRIES):
        with suppress(Conflict):
            await inc.systems.containers.remove_network(network)
            return
        await disconnect(inc, [network])
    await inc.systems.containers.remove_network(network)


def _names(network: Found, wanted: Sequence[str]) -> set[str]:
    """How the networks with these names in the template are called for the agent and generation that this one belongs to."""
    agent, generation = network.labels.get(LABEL_AGENT, ""), network.labels.get(LABEL_GENERATION, "0")
    return {network_name(AgentId(agent), int(generation), name) for name in wanted}
