"""Old records go: events, incidents, copies of volumes, remembered ports, measurements."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.model.agent import Lifecycle
from envmgr.protocols.store import Snapshot, SnapshotKind, Transaction
from envmgr.runtime import restoring, saving
from envmgr.runtime.maintenance.task import Done, Order

_AT_ONCE = 5000
_PAUSE_S = 0.02
_OUR_OWN = (SnapshotKind.REMOVAL, SnapshotKind.RESTORE)


class Events:
    """Events of long ago, save the newest of them; some at a time, so that nobody's write waits."""

    name, says = "events", "forget old events"

    async def do(self, order: Order) -> Done:
        store, keep = order.supervisor.systems.store, order.limits.events_keep
        before_at = order.before(order.limits.events_days)
        if order.is_dry:
            return Done(count=await store.read(partial(_stale, before_at=before_at, keep=keep)))
        prune, count = partial(_prune, before_at=before_at, keep=keep), 0
        while gone := await store.write(prune):
            count += gone
            await anyio.sleep(_PAUSE_S)
        return Done(count=count)


def _stale(tx: Transaction, *, before_at: float, keep: int) -> int:
    return tx.stale(before_at=before_at, keep=keep)


def _prune(tx: Transaction, *, before_at: float, keep: int) -> int:
    return tx.prune(before_at=before_at, keep=keep, at_most=_AT_ONCE)


class Incidents:
    """Incidents that were closed long ago, with their bundles; and bundles that no incident has."""

    name, says = "incidents", "forget old incidents and their bundles"

    async def do(self, order: Order) -> Done:
        before_at, folder = order.before(order.limits.incidents_days), order.supervisor.layout.incidents
        store = order.supervisor.systems.store
        known = await store.read(lambda tx: tx.incidents(limit=1_000_000))
        old = [one for one in known if one.closed_at is not None and one.closed_at < before_at]
        kept = {one.bundle for one in known if one not in old}
        stray_before_at = order.before(order.limits.temp_days)
        freed = await blocking.act("file", _drop_bundles, folder, kept, stray_before_at, is_dry=order.is_dry)
        if not order.is_dry:
            for one in old:
                await store.write(partial(_forget_incident, incident=one.id))
        return Done(count=len(old)) + freed


def _drop_bundles(folder: Path, kept: set[str], before_at: float, *, is_dry: bool) -> Done:
    done = Done()
    for path in folder.iterdir() if folder.is_dir() else ():
        found = path.lstat()
        if path.name not in kept and path.is_file() and found.st_mtime < before_at:
            done += Done(bytes=found.st_size)
            if not is_dry:
                path.unlink(missing_ok=True)
    return done


def _forget_incident(tx: Transaction, incident: int) -> None:
    tx.delete_incident(incident)


class Copies:
    """Copies of volumes made before a removal or a restore. Their files stay: git holds them, and they take next to nothing.

    Snapshots that a person took or a fork began from are never touched.
    """

    name, says = "copies", "forget old copies of volumes that nobody asked for"

    async def do(self, order: Order) -> Done:
        systems, layout = order.supervisor.systems, order.supervisor.layout
        before_at, done = order.before(order.limits.copies_days), Done()
        for snapshot in await systems.store.read(lambda tx: tx.snapshots()):
            if snapshot.kind not in _OUR_OWN or not snapshot.volumes or snapshot.at >= before_at:
                continue
            if await _is_needed(order, snapshot):
                continue
            done += Done(count=1, bytes=snapshot.bytes)
            if not order.is_dry:
                await saving.drop_volumes(systems, layout, snapshot)
        return done


async def _is_needed(order: Order, snapshot: Snapshot) -> bool:
    """By a restore that was begun and not finished."""
    note = await restoring.pending_for(order.supervisor.systems, snapshot.agent)
    return note is not None and snapshot.id in (note.snapshot, note.before)


class Ports:
    """Numbers that agents remember which have been stopped for long: their blocks are for others."""

    name, says = "ports", "give back remembered port blocks of agents that have been stopped for long"

    async def do(self, order: Order) -> Done:
        before_at = order.before(order.limits.ports_days)
        idle = {
            actor.state.id
            for actor in order.supervisor.actors()
            if actor.state.lifecycle is Lifecycle.STOPPED and actor.state.since < before_at
        }

        def give_back(tx: Transaction) -> tuple[int, int]:
            leases = [one for one in tx.leases() if one.agent in idle and not one.held]
            held = {one.agent for one in tx.leases() if one.held}
            agents = {one.agent for one in leases} - held
            for agent in () if order.is_dry else agents:
                tx.release_ports(agent, forget=True)
            return sum(one.agent in agents for one in leases), len(agents)

        leases, agents = await order.supervisor.systems.store.write(give_back)
        return Done(count=leases, detail=f"of {agents} agents" if agents else "")


class Measurements:
    """Raw samples of earlier days become means."""

    name, says = "series", "thin out old measurements"

    async def do(self, order: Order) -> Done:
        if order.is_dry:
            return Done(detail="(not counted beforehand)")
        systems = order.supervisor.systems
        return Done(count=await systems.series.tidy(systems.now()))
