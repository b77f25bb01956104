"""What is forgotten with time: copies of volumes that nobody asked for, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.model.ids import AgentId
from envmgr.protocols.store import SavedVolume, Snapshot, SnapshotKind
from envmgr.runtime import restoring
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.retention import Retention
from tests.support.incarnations import incarnation
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio
_DAY_S = 86400.0


async def saved(inc: Incarnation, kind: SnapshotKind, *, days: float, agent: str = "") -> int:
    """A snapshot with a volume's copy, taken so many days ago; its number."""
    snapshot = Snapshot(
        id=0, agent=AgentId(agent or inc.id), name="otter", repo=str(inc.repo.root), ref="refs/envmgr/0tter000/1-1",
        branch="b", head="h", path="p", at=inc.systems.now() - days * _DAY_S, spec=inc.spec, kind=kind,
        folder=f"{kind.value}-{days}", volumes=(SavedVolume(name="data", file="data.tar", bytes=4),),
    )  # fmt: skip
    folder = anyio.Path(inc.layout.snapshots / snapshot.folder)
    await folder.mkdir(parents=True)
    await (folder / "data.tar").write_text("data")
    return await inc.systems.store.write(lambda tx: tx.add_snapshot(snapshot))


@proves("DATA-043")
async def test_copies_of_removals_and_restores_go_after_a_week_and_nothing_else(tmp_path: Path) -> None:
    async with incarnation(tmp_path) as inc:
        for kind in SnapshotKind:
            await saved(inc, kind, days=6.9)
            await saved(inc, kind, days=7.1)
        needed = await saved(inc, SnapshotKind.REMOVAL, days=8, agent="half0000")
        note = restoring.Restoring(snapshot=needed)
        await restoring.begin(replace_id(inc, "half0000"), note)

        with anyio.move_on_after(1.0):
            await Retention(inc.systems, inc.layout).run()

        left = {s.folder for s in await inc.systems.store.read(lambda tx: tx.snapshots()) if s.volumes}
        folders = {path.name async for path in anyio.Path(inc.layout.snapshots).iterdir()}
        assert left == folders
        assert left == {
            "removal-6.9", "restore-6.9", "manual-6.9", "manual-7.1", "fork-6.9", "fork-7.1", "removal-8",
        }  # fmt: skip


def replace_id(inc: Incarnation, agent: str) -> Incarnation:
    return replace(inc, id=AgentId(agent))
