"""Make the agent's networks ahead of its containers."""

from __future__ import annotations

from envmgr.runtime.engine_runner import EngineRunner
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.runners import own_units
from envmgr.runtime.saga import Receipt, Step
from envmgr.runtime.supplies import Supplies


class BeginNetworks(Step):
    """Step: ask the engine for the networks, and go on; the containers wait for them."""

    name = "networks"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Begin. An engine that does not answer is told by the step that starts services."""
        inc = self._inc
        inc.asked_engine = 0
        await inc.systems.container_watch.group.start(Supplies(inc).begin)
        return {}

    async def undo(self, receipt: Receipt | None) -> None:
        """Remove them, also when no container came to be."""
        await EngineRunner(self._inc).dismiss()


def needs_networks(inc: Incarnation) -> bool:
    """Whether a unit of its own runs in a container."""
    return any(unit.container is not None for unit in own_units(inc))
