"""A restore replaces volumes that nobody mounts, and never gives up the only copy of what was there; with real git and engine."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.errors import Conflict
from envmgr.model.container import ContainerSpec, MountKind, MountSpec, VolumeSpec
from envmgr.model.ids import LABEL_AGENT, volume_name
from envmgr.protocols.store import Snapshot, SnapshotKind
from envmgr.runtime import restoring, runners, saving, volumes
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.services import ServiceRun
from envmgr.runtime.steps.services import stop_services
from tests.support.containers import contained, container
from tests.support.docker import BASE, engine
from tests.support.host import new_repo
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

DATA = ContainerSpec(init=True, mounts=(MountSpec(kind=MountKind.VOLUME, source="data", target="/data"),))
STORE = container("store", "sleep 600", inside=DATA)


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[Incarnation]:
    async with contained(folder, STORE, volumes=[VolumeSpec(name="data")]) as inc:
        yield inc
        await volumes.remove(inc)


async def run(inc: Incarnation, *line: str) -> str:
    """Start the store, run a line in it, stop it again."""
    await claim_ports(inc)
    await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()
    found = engine().containers.get(f"envmgr-{inc.id}-g1-store")
    said: str = found.exec_run(["sh", "-c", *line]).output.decode()
    await stop_services(inc)
    return said.strip()


async def worked_on(inc: Incarnation, folder: Path) -> Snapshot:
    """A worktree and a volume that say `new`, and a snapshot in which both say `old`."""
    inc.spec = replace(inc.spec, repo=str(new_repo(folder / "repo")))
    inc.repo = await inc.systems.workspaces.find(folder / "repo")
    inc.worktree = await inc.systems.workspaces.register(
        inc.repo, path=folder / "tree", branch="otter", base="main", owner=inc.owner
    )
    await inc.systems.workspaces.checkout(inc.worktree)
    (inc.path / "index.html").write_text("old")
    await run(inc, "echo old > /data/file")
    saved = await saving.save(inc, kind=SnapshotKind.MANUAL)
    (inc.path / "index.html").write_text("new")
    await run(inc, "echo new > /data/file")
    return saved


async def state(inc: Incarnation) -> tuple[str, str]:
    return (inc.path / "index.html").read_text(), await run(inc, "cat /data/file")


def mount(inc: Incarnation) -> None:
    """Somebody else's container, which never runs."""
    name = volume_name(inc.id, "data")
    labels = {LABEL_AGENT: inc.id}
    engine().containers.create(BASE, ["true"], name=f"guest-{inc.id}", volumes=[f"{name}:/d"], labels=labels)


def unmount(inc: Incarnation) -> None:
    engine().containers.get(f"guest-{inc.id}").remove()


@proves("DATA-045")
async def test_a_restore_is_refused_while_anybody_mounts_a_volume_and_nothing_is_changed(
    tmp_path: Path,
) -> None:
    async with kept(tmp_path) as inc:
        saved = await worked_on(inc, tmp_path)
        mount(inc)
        with pytest.raises(Conflict) as refused:
            await restoring.restore(inc, saved)
        unmount(inc)

        assert f"volume data of otter is mounted by guest-{inc.id}" in refused.value.message
        assert await restoring.pending(inc) is None
        assert await inc.systems.store.read(lambda tx: tx.snapshots()) == [saved]
        assert await state(inc) == ("new", "new")


@proves("DATA-045")
async def test_what_was_there_is_kept_when_a_volume_cannot_be_replaced_after_the_worktree_was(
    tmp_path: Path,
) -> None:
    async with kept(tmp_path) as inc:
        saved = await worked_on(inc, tmp_path)
        asked, mounted = threading.Event(), threading.Event()

        def guest() -> None:
            asked.wait(30)
            mount(inc)
            mounted.set()

        def reach(point: str) -> None:
            if point == "restore-worktree":
                asked.set()
                while not mounted.is_set():  # a blocking wait is not allowed in the loop
                    pass

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, guest)
            with pytest.raises(Conflict):
                await restoring.restore(inc, saved, reach=reach)
        note = await restoring.pending(inc)
        snapshots = await inc.systems.store.read(lambda tx: tx.snapshots())
        unmount(inc)

        assert note is not None
        before = next(s for s in snapshots if s.id == note.before)
        await restoring.restore(inc, before)
        assert await restoring.pending(inc) is None
        assert await state(inc) == ("new", "new")
        await restoring.restore(inc, saved)
        assert await state(inc) == ("old", "old")
