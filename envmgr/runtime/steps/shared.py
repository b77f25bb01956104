"""Join and leave shared services: the first agent that needs one starts it, the last that leaves ends it.

Whatever is done to one instance is done in its turn (`Systems.turns`). The record is written before anything is started and
after everything has ended, so that a crash leaves at most an instance without holders; `tidy` ends those at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from envmgr.core import sharing as rules
from envmgr.errors import Conflict, EnvmgrError
from envmgr.model.container import ContainerSpec, MountKind, MountSpec
from envmgr.model.ids import AgentId, InstanceId
from envmgr.model.service import ServiceKind, ServiceSpec, StopPolicy
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import Transaction
from envmgr.protocols.workspaces import Repository, Worktree
from envmgr.runtime import engine_use, sharing
from envmgr.runtime.incarnation import Incarnation, Layout, Systems
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.sharing import Common, Share
from envmgr.runtime.steps.services import stop_services

log = logging.getLogger(__name__)


async def hold(inc: Incarnation) -> None:
    """Count the agent among the holders of all shared services it needs, and learn their ports. May be repeated.

    Raises:
        Conflict: Another agent uses one that is defined differently; or no port is free.
    """
    for service in sharing.shared_services(inc):
        own = sharing.common(inc, service)
        async with inc.systems.turns.of(own.id):
            before = await inc.systems.store.write(partial(_join, inc=inc, service=service, own=own))
            if before is not None and before.is_up and not before.holders:
                await stop_services(own)  # a crash left it; it may have another definition
            own.ports.update(await inc.systems.store.read(partial(sharing.held, shared=own.id)))
            await claim_ports(own)
        inc.ports.update(own.ports)


def _join(tx: Transaction, *, inc: Incarnation, service: ServiceSpec, own: Common) -> Share | None:
    before = sharing.read(tx, own.id)
    digest = rules.digest(service)
    others = _others(before, inc)
    if before and others and before.digest != digest:
        raise _differs(tx, service.name, others)
    share = Share(
        id=own.id,
        service=service.name,
        repo=str(inc.repo.root),
        digest=digest,
        holders=(*others, inc.id),
        in_container=service.container is not None,
        keeps=any(mount.kind is MountKind.VOLUME and mount.source for mount in _mounts(service)),
        signal=service.stop.signal,
        grace_s=service.stop.grace_s,
    )
    sharing.write(tx, share)
    return before


def _others(share: Share | None, inc: Incarnation) -> Sequence[str]:
    return [holder for holder in share.holders if holder != inc.id] if share else []


async def obstacles(inc: Incarnation) -> Sequence[Conflict]:
    """Why the agent could not hold the shared services it needs: others use them as they are."""

    def look(tx: Transaction) -> list[Conflict]:
        found = []
        for service in sharing.shared_services(inc):
            share = sharing.read(tx, sharing.common(inc, service).id)
            others = _others(share, inc)
            if share and others and share.digest != rules.digest(service):
                found.append(_differs(tx, service.name, others))
        return found

    return await inc.systems.store.read(look)


def _mounts(service: ServiceSpec) -> Sequence[MountSpec]:
    return service.container.mounts if service.container else ()


def _differs(tx: Transaction, service: str, holders: Collection[str]) -> Conflict:
    names = [record.state.name for holder in holders if (record := tx.agent(AgentId(holder)))]
    return Conflict(
        f"the shared service {service} runs for {', '.join(names)} by another definition",
        hint=f"Stop {', '.join(names)} first: the next who starts it has the new definition. Or let templates differ in"
        " `exports` and `tenant` only, or drop `scope: shared` so that this agent gets its own.",
        details={"service": service, "holders": names},
    )


async def leave(inc: Incarnation, *, staying: Collection[str] = ()) -> None:
    """The agent needs its shared services no more; those that nobody else holds are ended, verified. May be repeated.

    Args:
        staying: Names of those that it still uses.

    Raises:
        EnvmgrError: What the last one could not end; it stays recorded, and is ended by the next one who leaves or at the
            next start of the daemon.
    """
    known = {own.id: own for own in (sharing.common(inc, s) for s in sharing.shared_services(inc))}
    needed = {rules.shared_id(str(inc.repo.common_dir), name) for name in staying}
    for share in await inc.systems.store.read(sharing.everything):
        if share.id in needed or not (share.id in known or inc.id in share.holders):
            continue
        own = known.get(share.id) or _bare(share, inc.systems, inc.layout, inc.instance)
        async with inc.systems.turns.of(own.id):
            left = await inc.systems.store.write(partial(_part, shared=own.id, agents={inc.id}))
            if left is not None:
                await _end(own, left)


def _part(tx: Transaction, *, shared: AgentId, agents: Collection[str]) -> Share | None:
    """Drop holders; returns the share if it is to be ended now."""
    share = sharing.read(tx, shared)
    if share is None:
        return None
    left = replace(share, holders=tuple(holder for holder in share.holders if holder not in agents))
    sharing.write(tx, left)
    return left if left.is_up and not left.holders else None


async def _end(own: Common, share: Share) -> None:
    await stop_services(own)

    def note(tx: Transaction) -> None:
        tx.release_ports(own.id)
        if share.keeps:
            sharing.write(tx, replace(share, is_up=False))
        else:
            sharing.forget(tx, share.id)
            engine_use.forget(tx, share.id)

    await own.systems.store.write(note)


async def tidy(
    systems: Systems, layout: Layout, instance: InstanceId, *, is_alive: Callable[[str], bool]
) -> bool:
    """At start-up: drop holders that are no more, and end what nobody holds. What is held goes on as it is.

    Args:
        is_alive: Whether the agent of an id may use shared services.

    Returns:
        Whether all of that is done.
    """
    is_done = True
    for share in await systems.store.read(sharing.everything):
        own = _bare(share, systems, layout, instance)
        try:
            async with systems.turns.of(share.id):
                gone = {holder for holder in share.holders if not is_alive(holder)}
                left = await systems.store.write(partial(_part, shared=share.id, agents=gone))
                if left is not None:
                    await _end(own, left)
        except EnvmgrError as error:
            log.warning("shared service not ended", extra={"service": share.service, "why": error.message})
            is_done = False
    return is_done


def _bare(share: Share, systems: Systems, layout: Layout, instance: InstanceId) -> Common:
    """Enough of it to be ended, when no agent is left that knows its definition."""
    root = Path(share.repo)
    service = ServiceSpec(
        name=share.service,
        kind=ServiceKind.CONTAINER if share.in_container else ServiceKind.PROCESS,
        container=ContainerSpec() if share.in_container else None,
        stop=StopPolicy(signal=share.signal, grace_s=share.grace_s),
    )
    return Common(
        id=share.id,
        name=f"{share.service} (shared)",
        generation=1,
        spec=AgentSpec(template="", source="", repo=share.repo, name=share.service, services=(service,)),
        repo=Repository(root=root, common_dir=root / ".git", key="shared"),
        instance=instance,
        layout=layout,
        systems=systems,
        worktree=Worktree(path=root, branch="", base=""),
    )
