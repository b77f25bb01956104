"""Folders, files and sockets in envmgr's own state that nobody needs any more."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError
from envmgr.model.observe import Absent
from envmgr.model.resource import Kind, Sighting
from envmgr.runtime import saving
from envmgr.runtime.reaping.ground import Ground, refused, unseen
from envmgr.runtime.reaping.sizes import size_of

_LOOK_S = 10.0
_DEEP = 3


class Files:
    """See `Sort`. Folders of agents, saved volumes and notes whose owner is no more; deletions that were cut off; dead sockets."""

    kind = Kind.TEMP

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        try:
            found = await blocking.look("file", _LOOK_S, _look, ground)
        except (OSError, EnvmgrError) as error:
            return [unseen(Kind.TEMP, str(ground.layout.state_dir), str(error))]
        kept = await _kept_folders(ground)
        return [_of_snapshots(one, ground, kept) for one in found]

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        return replace(seen, size_bytes=await size_of(Path(seen.name)))

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        path = Path(seen.name)
        if path.parent == ground.layout.state_dir / "agents":
            held = await ground.systems.keepers.find(path, owner=f"{ground.instance}/{seen.agent}")
            if not isinstance(held, Absent):
                raise refused(f"a keeper lives in {path.name}")
        await blocking.act("file", _delete, path, seen.key)


def _look(ground: Ground) -> list[Sighting]:
    layout = ground.layout
    return [
        *(
            _sighting(home, ground, agent=home.name, outlives=True)
            for home in _children(layout.state_dir / "agents")
        ),
        *(_dead_sockets(ground)),
        *(_sighting(one, ground, ours=True) for one in _children(layout.worktree_root / ".trash")),
        *(_sighting(one, ground, ours=True) for one in _children(layout.snapshots)),
        *(_note(note, ground) for key in _children(layout.state_dir / "locks") for note in _children(key)),
    ]


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _dead_sockets(ground: Ground) -> Iterator[Sighting]:
    """Below the folders of agents: of keepers that were killed, of an agent's own tmux, of whatever it told to live there.

    Agents that are up are left in peace: to knock at a database each few minutes is no look that changes nothing.
    """
    homes = _children(ground.layout.state_dir / "agents")
    for home in (home for home in homes if home.name not in ground.awake):
        for path in _files(home):
            if stat.S_ISSOCK(path.lstat().st_mode) and not _is_served(path):
                yield _sighting(path, ground, agent=home.name)


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        if len(Path(place).relative_to(folder).parts) >= _DEEP:
            folders.clear()
        yield from (Path(place) / name for name in names)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # a datagram socket, or a path too long for a name: nobody can tell
    return True


def _note(path: Path, ground: Ground) -> Sighting:
    """That a worktree was being made."""
    instance, _, agent = unquote(path.name).partition("/")
    return replace(_sighting(path, ground, agent=agent, outlives=True), instance=instance if agent else "")


def _sighting(
    path: Path, ground: Ground, *, agent: str = "", ours: bool = False, outlives: bool = False
) -> Sighting:
    found = path.lstat()
    return Sighting(
        kind=Kind.TEMP,
        key=f"{path}@{found.st_ino}",
        name=str(path),
        instance=ground.instance if ours else "",
        agent=agent,
        age_s=max(0.0, ground.systems.now() - found.st_ctime),
        outlives=outlives,
    )


async def _kept_folders(ground: Ground) -> Collection[str]:
    """Of snapshots, and of those that are being taken."""
    snapshots = await ground.systems.store.read(lambda tx: tx.snapshots())
    return {one.folder for one in snapshots} | {note.folder for note in await saving.notes(ground.systems)}


def _of_snapshots(seen: Sighting, ground: Ground, kept: Collection[str]) -> Sighting:
    path = Path(seen.name)
    if path.parent == ground.layout.snapshots and path.name in kept:
        return replace(seen, belongs="of a snapshot")
    return seen


def _delete(path: Path, key: str) -> None:
    try:
        if f"{path}@{path.lstat().st_ino}" != key:
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(f"{path.name} cannot be deleted: {error.strerror}") from error
