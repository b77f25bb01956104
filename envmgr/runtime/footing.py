"""What an agent's services stood on when they were launched: lock files, tool versions, files that images are built by.

Digests are kept in the store, so that a change is seen by a later daemon, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.aio import blocking
from envmgr.model.ids import AgentId
from envmgr.protocols.store import Transaction
from envmgr.runtime.incarnation import Incarnation

LOCK_FILES = (
    "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "uv.lock", "poetry.lock", "requirements.txt",
    "Cargo.lock", "go.sum", "Gemfile.lock",
)  # fmt: skip
TOOL_FILES = (".tool-versions", ".nvmrc", ".python-version")

_FILES_S = 10.0
_MOST_BYTES = 32 * 1024**2
_MOST_KNOWN = 10_000

_Signature = tuple[int, int, int]
_digests: dict[Path, tuple[_Signature, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """Digests by path in the worktree, and by unit. A file that does not exist is not named."""

    files: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)


def paths(inc: Incarnation) -> list[Path]:
    """Files that images are built by."""
    return [path for parts in _parts(inc).values() for path in parts]


def _parts(inc: Incarnation) -> dict[str, tuple[Path, ...]]:
    return {
        unit.name: (
            inc.path / unit.container.build.context / unit.container.build.dockerfile,
            inc.path / unit.container.build.context / ".dockerignore",
        )
        for unit in inc.services
        if unit.container and unit.container.build
    }


def look(inc: Incarnation) -> Footing:
    """As it is now. Blocking; a file is read only when its time or size has changed."""
    files = {name: found for name in _names(inc) if (found := _digest(inc.path / name))}
    builds = {
        unit: hashlib.sha256(" ".join(map(_digest, parts)).encode()).hexdigest()[:12]
        for unit, parts in _parts(inc).items()
    }
    return Footing(files=files, builds=builds)


def _names(inc: Incarnation) -> Iterator[str]:
    for folder in sorted({".", *(unit.cwd for unit in inc.services if not unit.container)}):
        for name in (*LOCK_FILES, *TOOL_FILES):
            yield str(Path(folder) / name)


def _digest(path: Path) -> str:
    """Empty when there is no such file, or it is none that people write."""
    try:
        seen = path.stat()
        signature = (seen.st_mtime_ns, seen.st_size, seen.st_ino)
        known = _digests.get(path)
        if known is None or known[0] != signature:
            if len(_digests) > _MOST_KNOWN:  # of worktrees that are long gone
                _digests.clear()
            content = path.read_bytes() if seen.st_size <= _MOST_BYTES else str(signature).encode()
            known = _digests[path] = (signature, hashlib.sha256(content).hexdigest()[:12])
    except OSError:
        _digests.pop(path, None)
        return ""
    return known[1]


async def record(inc: Incarnation) -> None:
    """From now on this counts as what was launched."""
    footing = await blocking.look("file", _FILES_S, look, inc)
    data = {"generation": inc.generation, "files": dict(footing.files), "builds": dict(footing.builds)}
    await inc.systems.store.write(lambda tx: tx.put(_key(inc.id), json.dumps(data)))


async def recorded(inc: Incarnation) -> Footing | None:
    """What this generation was launched on; None when nobody has recorded it."""
    text = await inc.systems.store.read(lambda tx: tx.get(_key(inc.id)))
    data = json.loads(text) if text else {}
    if data.get("generation") != inc.generation:
        return None
    return Footing(files=data["files"], builds=data["builds"])


async def builds(inc: Incarnation) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Digests of the files that images are built by: at the launch, and now."""
    before = await recorded(inc)
    if before is None or not before.builds:
        return {}, {}
    return before.builds, (await blocking.look("file", _FILES_S, look, inc)).builds


def forget(tx: Transaction, agent: AgentId) -> None:
    """The agent is gone."""
    tx.drop(_key(agent))


def _key(agent: AgentId) -> str:
    return f"footing/{agent}"
