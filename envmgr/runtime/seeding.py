"""Fill a new volume: from a snapshot, or by a script that runs once in a container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.errors import ConfigError, Unavailable
from envmgr.model.container import MountKind, MountSpec, PullPolicy, Seed, VolumeSpec
from envmgr.model.ids import image_name
from envmgr.model.observe import Present
from envmgr.model.service import ServiceSpec
from envmgr.protocols.engine import Container, ContainerLaunch
from envmgr.protocols.store import SavedVolume, Snapshot
from envmgr.runtime import owning, rendering
from envmgr.runtime.incarnation import Incarnation

SEED, WORKTREE = "/seed", "/worktree"
_SHOWN_CHARS = 2000
_ROOT = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFile:
    """A tar file of a snapshot, named for people."""

    path: Path
    what: str


Source = FromFile | Seed


async def source(inc: Incarnation, volume: VolumeSpec) -> Source | None:
    """What a new volume is filled with: a fork's from its snapshot, else by the template's seed; None leaves it empty.

    Raises:
        ConfigError: The snapshot is not there, or has no such volume.
    """
    seed = volume.seed
    if inc.spec.origin is None and (seed is None or not seed.snapshot):
        return seed
    snapshots = [
        s for s in await inc.systems.store.read(lambda tx: tx.snapshots()) if s.repo == inc.spec.repo
    ]
    if inc.spec.origin is not None:
        number = inc.spec.origin.snapshot
        snapshot = next((s for s in snapshots if s.id == number), None)
        if snapshot is None:
            raise ConfigError(
                f"snapshot {number}, which {inc.name} was forked from, is gone",
                hint="Fork again, or spawn a new agent.",
            )
        if saved := _saved(snapshot, volume.name):
            return _file(inc, snapshot, saved)
    if seed is None or not seed.snapshot:
        return seed
    return _named(inc, seed.snapshot, volume.name, snapshots)


def _named(inc: Incarnation, name: str, volume: str, snapshots: list[Snapshot]) -> FromFile:
    """`7`, `label` (the newest of that name) or `agent/label`."""
    known = [s for s in snapshots if name in (str(s.id), s.label, f"{s.name}/{s.label}")]
    for snapshot in reversed(known):
        if saved := _saved(snapshot, volume):
            return _file(inc, snapshot, saved)
    why = f"has no volume {volume}" if known else "does not exist in this repository"
    raise ConfigError(
        f"the seed of volume {volume} names snapshot {name}, which {why}", hint="See `envmgr snapshot list`."
    )


def _saved(snapshot: Snapshot, volume: str) -> SavedVolume | None:
    return next((v for v in snapshot.volumes if v.name == volume), None)


def _file(inc: Incarnation, snapshot: Snapshot, saved: SavedVolume) -> FromFile:
    path = inc.layout.snapshots / snapshot.folder / saved.file
    return FromFile(path=path, what=f"snapshot {snapshot.label or snapshot.id} of {snapshot.name}")


async def fill(inc: Incarnation, service: ServiceSpec, volume: str, source: Source, *, into: str) -> None:
    """Fill a volume that was just made (in the engine called `into`) for its first user, whose image is there.

    Raises:
        EnvmgrError: It failed; says why. The caller removes the volume.
    """
    assert service.container is not None, "only containers mount volumes"
    image = service.container.image or image_name(inc.id, service.name)
    match source:
        case FromFile(path=path, what=what):
            if not await anyio.Path(path).is_file():
                raise ConfigError(
                    f"{what} has lost its copy of volume {volume}",
                    hint="Was the file deleted by hand? Take a new snapshot.",
                )
            await inc.systems.containers.import_volume(into, path, image=image)
        case Seed(image=other) as seed:
            if other:
                await inc.systems.containers.image(other, pull=PullPolicy.MISSING)
            await _run(
                inc, volume, seed, await _launch(inc, service, volume, seed, image=other or image, into=into)
            )


async def _run(inc: Incarnation, volume: str, seed: Seed, launch: ContainerLaunch) -> None:
    """Run the script to its end; its container is removed in any case."""
    engine = inc.systems.containers
    log = inc.home / "logs" / f"seed-{volume}.log"
    try:
        ended = None
        with anyio.move_on_after(seed.timeout_s):
            ended = await _until_ended(inc, launch, log)
    finally:
        with anyio.CancelScope(shield=True):
            await engine.remove(launch.name)
    if ended is not None and ended.exit_code == 0:
        return
    text = await blocking.look("file", 5.0, _end_of, log)
    last = f"; its last words: {text.splitlines()[-1].strip()}" if text.strip() else ""
    how = f"did not end within {seed.timeout_s:g} s" if ended is None else f"exited with {ended.exit_code}"
    raise Unavailable(
        f"the seed script of volume {volume} {how}{last}",
        hint="Mend `seed` in the template; the volume was removed again, so the next start runs it anew.",
        details={"volume": volume, "log": text},
    )


async def _launch(
    inc: Incarnation, service: ServiceSpec, volume: str, seed: Seed, *, image: str, into: str
) -> ContainerLaunch:
    secrets = await inc.secrets()
    known = rendering.values(inc, secrets, service.name)
    return ContainerLaunch(
        name=owning.container(inc, f"seed-{volume}"),
        image=image,
        labels=owning.new(inc),
        command=rendering.command(seed.script, "/bin/sh", known),
        entrypoint=(),
        env=rendering.named(secrets, seed.script) | rendering.service_env(inc, service, secrets),
        mounts=(
            MountSpec(kind=MountKind.VOLUME, source=into, target=SEED),
            MountSpec(kind=MountKind.BIND, source=str(inc.path), target=WORKTREE, read_only=True),
        ),
        # Whatever user the service has: a new volume belongs to root, and seeds set owners.
        user=_ROOT,
        workdir=SEED,
    )


async def _until_ended(inc: Incarnation, launch: ContainerLaunch, log: Path) -> Container:
    engine = inc.systems.containers
    made = await engine.run(launch)
    await blocking.act("file", _begin, log)
    async for _, line in engine.output(made.id):
        await blocking.act("file", _append, log, line)
    while True:
        match await engine.inspect(made.id):
            case Present(container) if not container.is_alive:
                return container
        await anyio.sleep(0.05)


def _begin(log: Path) -> None:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.write_bytes(b"")


def _append(log: Path, line: bytes) -> None:
    with log.open("ab") as file:
        file.write(line)


def _end_of(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-_SHOWN_CHARS:]
    except OSError:
        return ""
