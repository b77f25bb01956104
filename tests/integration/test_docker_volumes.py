"""The content of volumes leaves and comes back as it was: bytes, owners, modes."""

from __future__ import annotations

import tarfile
from pathlib import Path

import anyio
import pytest

from envmgr.errors import EnvmgrError, NotFound
from envmgr.model.container import MountKind, MountSpec
from envmgr.model.observe import Present
from tests.support.docker import BASE, Ours
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_FILL = """
set -e; cd /data
mkdir -p deep/er; printf 'some\\0bytes' >deep/er/file; chown 999:998 deep/er/file; chmod 640 deep/er/file
ln -s deep/er/file link; ln deep/er/file hard; mkfifo pipe; printf x >'odd name
with newline'; mkdir empty; chmod 1777 empty; touch -d @1000000000 deep/er; chown 999:999 .; chmod 700 .
"""
_LIST = "cd /data; find . -printf '%p %y %m %U:%G %n %l\\n' | sort; cat deep/er/file; stat -c %Y deep/er"


async def in_volume(ours: Ours, volume: str, script: str) -> str:
    mount = MountSpec(kind=MountKind.VOLUME, source=volume, target="/data")
    container = await ours.engine.run(ours.launch("sleep", "60", what="looking", mounts=(mount,)))
    status, said = await ours.engine.execute(container.id, ["sh", "-c", script], deadline_s=20)
    await ours.engine.remove(container.id)
    assert status == 0, said
    return said


@proves("DOCK-013")
async def test_a_volume_goes_through_a_file_unchanged(ours: Ours, tmp_path: Path) -> None:
    old, new, file = ours.name("old"), ours.name("new"), tmp_path / "volume.tar"
    for volume in (old, new):
        await ours.engine.ensure_volume(volume, ours.labels)
    await in_volume(ours, old, _FILL)
    before = await in_volume(ours, old, _LIST)

    size = await ours.engine.export_volume(old, file, image=BASE)
    await ours.engine.import_volume(new, file, image=BASE)

    assert await in_volume(ours, new, _LIST) == before
    assert "./deep/er/file f 640 999:998 2 " in before
    assert ". d 700 999:999" in before
    assert file.stat().st_size == size
    assert [path.name for path in tmp_path.iterdir()] == ["volume.tar"]
    for volume in (old, new):
        await ours.engine.remove_volume(volume)


@proves("DOCK-013")
async def test_many_megabytes_are_not_held_in_memory(ours: Ours, tmp_path: Path) -> None:
    volume, file = ours.name("big"), tmp_path / "volume.tar"
    await ours.engine.ensure_volume(volume, ours.labels)
    await in_volume(ours, volume, "head -c 200000000 /dev/zero >/data/big")
    before = _peak_kb()

    await ours.engine.export_volume(volume, file, image=BASE)

    assert _peak_kb() - before < 50_000
    with tarfile.open(file) as tar:
        assert [entry.size for entry in tar if entry.isfile()] == [200_000_000]
    await ours.engine.remove_volume(volume)


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@proves("DOCK-013")
async def test_an_interrupted_export_leaves_neither_file_nor_container(ours: Ours, tmp_path: Path) -> None:
    volume = ours.name("big")
    await ours.engine.ensure_volume(volume, ours.labels)
    await in_volume(ours, volume, "head -c 200000000 /dev/zero >/data/big")

    with anyio.move_on_after(0.2):
        await ours.engine.export_volume(volume, tmp_path / "volume.tar", image=BASE)

    assert list(tmp_path.iterdir()) == []
    assert await ours.engine.containers(ours.labels) == Present([])
    await ours.engine.remove_volume(volume)


@proves("DOCK-013")
async def test_a_volume_or_a_tar_that_is_none_is_refused(ours: Ours, tmp_path: Path) -> None:
    volume, file = ours.name("data"), tmp_path / "volume.tar"
    file.write_bytes(b"this is no tar file" * 100)
    await ours.engine.ensure_volume(volume, ours.labels)

    with pytest.raises(NotFound):
        await ours.engine.export_volume(ours.name("never-was"), file, image=BASE)
    with pytest.raises(EnvmgrError, match="filling volume"):
        await ours.engine.import_volume(volume, file, image=BASE)

    assert await ours.engine.containers(ours.labels) == Present([])
    await ours.engine.remove_volume(volume)
