"""Labels of what is ours on the container engine, so that everything is found again without any record."""

from __future__ import annotations

from envmgr.model.ids import (
    LABEL_AGENT,
    LABEL_GENERATION,
    LABEL_INSTANCE,
    LABEL_SERVICE,
    LABEL_STATE,
    container_name,
    network_name,
)
from envmgr.protocols.engine import Container, Labels
from envmgr.runtime.incarnation import Incarnation


def of_agent(inc: Incarnation) -> Labels:
    """What everything of an agent carries, whatever its generation."""
    return {LABEL_INSTANCE: inc.instance, LABEL_AGENT: inc.id}


def of_generation(inc: Incarnation) -> Labels:
    """What containers and networks of this generation carry."""
    return {**of_agent(inc), LABEL_GENERATION: str(inc.generation)}


def new(inc: Incarnation, unit: str = "") -> dict[str, str]:
    """Labels for a new container (of a unit) or network."""
    labels = {LABEL_STATE: str(inc.layout.state_dir), **of_generation(inc)}
    return {**labels, LABEL_SERVICE: unit} if unit else labels


def container(inc: Incarnation, unit: str) -> str:
    """Name of a unit's container."""
    return container_name(inc.id, inc.generation, unit)


def network(inc: Incarnation, name: str) -> str:
    """Name of one of the agent's networks."""
    return network_name(inc.id, inc.generation, name)


def of_repository(inc: Incarnation) -> Labels:
    """What a volume of all agents of a repository carries."""
    return {LABEL_STATE: str(inc.layout.state_dir), LABEL_INSTANCE: inc.instance}


def shared_volume(inc: Incarnation, name: str) -> str:
    """Name of a volume of all agents of a repository."""
    return f"envmgr-{inc.repo.key}-{name}"


def unit_of(inc: Incarnation, found: Container) -> str:
    """The unit a container of this generation belongs to; empty for those of other generations and for helpers."""
    if found.labels.get(LABEL_GENERATION) != str(inc.generation):
        return ""
    unit = found.labels.get(LABEL_SERVICE, "")
    return unit if found.name == container(inc, unit) else ""
