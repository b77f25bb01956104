"""Watch names that must not exist any more, until they surely do not.

A server that was stuck carries out a request whose client was killed long ago; what appears under a
tombstone's name is closed, and the tombstone goes when the name was absent twice in a row.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.agent import Lifecycle
from envmgr.model.ids import LABEL_AGENT, LABEL_GENERATION
from envmgr.model.lease import Tombstone
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.protocols.engine import Container, Found
from envmgr.protocols.store import Transaction
from envmgr.runtime import begun
from envmgr.runtime.incarnation import Systems

log = logging.getLogger(__name__)

_EVERY_S = 2.0
_ABSENT_TIMES = 2
# An engine that has been down for so long since its agent was removed brings nothing back that anybody waits for.
_REMOVED_FOR_S = 86_400.0
_UP = (Lifecycle.SPAWNING, Lifecycle.RUNNING)


Close = Callable[[], Awaitable[None]]


class Graves:
    """The loop over tombstones."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        self._absent: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                for grave in await self._systems.store.read(lambda tx: tx.tombstones()):
                    await self._visit(grave)
            except EnvmgrError as error:  # looked at again soon
                log.warning("tombstone not checked", extra={"why": error.message})
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("tombstone not checked")
            await anyio.sleep(_EVERY_S)

    async def _visit(self, grave: Tombstone) -> None:
        match await self._look(grave):
            case Present(close):
                self._absent.pop(grave.name, None)
                await close()
                log.info("what came late was closed", extra={"agent": grave.agent, "what": grave.name})
            case Absent():
                times = self._absent[grave.name] = self._absent.get(grave.name, 0) + 1
                if times >= _ABSENT_TIMES:
                    del self._absent[grave.name]
                    await self._systems.store.write(partial(_exhume, grave=grave))

    async def _look(self, grave: Tombstone) -> Seen[Close]:
        """Whether what lies there is up again, with the way to end it. What is not ours any more counts as absent."""
        if grave.kind == "session":
            terminals = self._systems.terminals
            match await terminals.look(grave.name, owner=grave.data.get("owner", "")):
                case Present(terminal):
                    return Present(partial(terminals.close, terminal))
                case nothing:
                    return nothing
        engine = self._systems.containers
        if grave.kind == begun.GRAVE:
            return await self._look_for_begun(grave)
        labels = {LABEL_AGENT: grave.agent, LABEL_GENERATION: str(grave.generation)}
        if grave.kind == "container":
            return _by_name(grave.name, await engine.containers(labels), engine.remove)
        return _by_name(grave.name, await engine.networks(labels), engine.remove_network)

    async def _look_for_begun(self, grave: Tombstone) -> Seen[Close]:
        """What an agent that is up again has begun is its own: then the next stop looks after it."""
        engine, of = self._systems.containers, begun.of_grave(grave)
        record = await self._systems.store.read(lambda tx: tx.agent(grave.agent))
        if record is not None and record.state.lifecycle in _UP:
            return Absent()
        if record is not None and record.state.lifecycle is Lifecycle.STOPPING:
            return Unknown("its stop looks itself")
        if not isinstance(await engine.knock(), Present):
            is_over = record is None and self._systems.now() - grave.since > _REMOVED_FOR_S
            return Absent() if is_over else Unknown("nobody serves the container engine")
        match await begun.find(engine, of):
            case Present(found):
                there = found.containers or found.networks
                return Present(partial(begun.end_all, engine, of)) if there else Absent()
            case Absent() | Unknown() as nothing:
                return nothing


def _by_name(
    name: str,
    seen: Seen[Sequence[Container]] | Seen[Sequence[Found]],
    remove: Callable[[str], Awaitable[None]],
) -> Seen[Close]:
    match seen:
        case Present(found):
            return Present(partial(remove, name)) if any(one.name == name for one in found) else Absent()
        case Absent() | Unknown() as nothing:
            return nothing


def _exhume(tx: Transaction, grave: Tombstone) -> None:
    tx.exhume(grave.kind, grave.name)
