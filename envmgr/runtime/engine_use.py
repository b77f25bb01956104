"""Whether an agent has ever used the container engine: a durable fact, as its present spec does not tell what an earlier one left there.

Noted as `engine/<agent>` before the first thing is made, and dropped when the agent is removed. Who never used an engine asks none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from envmgr.model.ids import AgentId
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation

_USES = "engine/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What an agent may have there.

    Attributes:
        since: The first generation that used it.
        image: What one of its containers ran last; opens volumes that no container of the spec mounts any more.
        has_volumes: A volume of its own may be there.
        has_images: An image may have been built for it.
    """

    since: int
    image: str = ""
    has_volumes: bool = False
    has_images: bool = False


async def note(
    inc: Incarnation, *, image: str = "", has_volumes: bool = False, has_images: bool = False
) -> None:
    """Something is about to be made. Costs nothing but a look when that is known already."""

    def added(known: Use) -> Use:
        return replace(
            known,
            image=image or known.image,
            has_volumes=has_volumes or known.has_volumes,
            has_images=has_images or known.has_images,
        )

    def change(tx: Transaction) -> None:
        known = _read(tx, inc.id) or Use(since=inc.generation)
        tx.put(_key(inc.id), json.dumps(asdict(added(known))))

    known = await look(inc)
    if known is None or added(known) != known:
        await inc.systems.store.write(change)


async def look(inc: Incarnation) -> Use | None:
    """What may be there; None for an agent that never used the engine."""
    return await inc.systems.store.read(lambda tx: _read(tx, inc.id))


def anybody(tx: Transaction) -> bool:
    """Whether any agent may have something there."""
    return bool(tx.under(_USES))


async def never_mind(inc: Incarnation) -> None:
    """This generation surely made nothing there; earlier ones may have."""

    def change(tx: Transaction) -> None:
        known = _read(tx, inc.id)
        if known is not None and known.since == inc.generation:
            forget(tx, inc.id)

    if await look(inc) is not None:
        await inc.systems.store.write(change)


def forget(tx: Transaction, agent: AgentId) -> None:
    """All of it is surely gone."""
    tx.drop(_key(agent))


def _read(tx: Transaction, agent: AgentId) -> Use | None:
    said = tx.get(_key(agent))
    return None if said is None else Use(**json.loads(said))


def _key(agent: AgentId) -> str:
    return f"{_USES}{agent}"
