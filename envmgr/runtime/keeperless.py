"""What a keeper that died without a word left running: found, so that it can be ended before anything is started again.

The keeper was the subreaper of all that its services began; with it that proof is gone. Its record still tells who they were:
their sessions and descendants are theirs, and what carries the marks of a service and began after the keeper was its
descendant, wherever it went since. A record of an earlier start of the host is history: nothing of it can be left.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from envmgr.model.observe import Present
from envmgr.protocols.keepers import Held, KeeperRecord
from envmgr.protocols.processes import Marks
from envmgr.runtime.incarnation import Incarnation


async def record(inc: Incarnation) -> KeeperRecord | None:
    """What the agent's keeper wrote down before it died; only after `Keepers.find` said Absent."""
    found = await inc.systems.keepers.record(inc.home)
    return found if found is not None and found.owner.startswith(f"{inc.owner}/") else None


async def is_history(inc: Incarnation, found: KeeperRecord) -> bool:
    """Whether it was written before the machine was last started."""
    me = await inc.identify(os.getpid())
    return me is not None and found.identity.boot_id != me.boot_id


async def marks(inc: Incarnation) -> Mapping[str, Marks]:
    """By service, how what the dead keeper left of it is found."""
    found = await record(inc)
    if found is None:
        return {}
    return {name: _of(inc, name, held, found) for name, held in found.services.items()}


def _of(inc: Incarnation, name: str, held: Held, keeper: KeeperRecord) -> Marks:
    roots = (held.identity,) if held.identity is not None else ()
    return replace(inc.marks(*roots, part=f"service:{name}"), kept_by=keeper.identity)


async def owner(inc: Incarnation) -> str:
    """Whose keeper holds the folder: also one that another generation of this agent has left there is ours to end."""
    found = await record(inc)
    return found.owner if found is not None else inc.tag


async def free(inc: Incarnation) -> None:
    """A keeper answers nobody, and the agent is to be stopped: woken, if somebody stopped it, else ended.

    Raises:
        Unobservable: It is not sure who holds the folder; nobody was signalled.
    """
    keepers, whose = inc.systems.keepers, await owner(inc)
    await keepers.wake(inc.home, owner=whose)
    if not isinstance(await keepers.find(inc.home, owner=inc.tag), Present):
        await keepers.end(inc.home, owner=whose)
