"""How entries of the archive are made, kept and forgotten, on real worktrees and files."""

from __future__ import annotations

import gzip
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from envmgr.drivers.keeper.logfile import LogFile
from envmgr.errors import Unavailable
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.ids import AgentId
from envmgr.runtime import saving
from envmgr.runtime.archiving import keeping, packing, reading
from envmgr.runtime.archiving.gathering import archive
from envmgr.runtime.archiving.keeping import Archive, Keep
from envmgr.runtime.archiving.packing import Log, Packer, mark
from envmgr.runtime.checkpoints import checkpoint
from envmgr.runtime.incarnation import Incarnation
from tests.support.git import git, make_repository, write
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.worktrees import with_worktree, work_on

pytestmark = pytest.mark.anyio
DAY_S = 86_400.0


@dataclass
class Clock:
    """Wall time that a test moves."""

    at: float = 1_800_000_000.0

    def __call__(self) -> float:
        self.at += 0.01  # no two snapshots of one moment
        return self.at


@asynccontextmanager
async def ended(folder: Path) -> AsyncIterator[tuple[Incarnation, Clock]]:
    """A stopped agent with some work and a log."""
    async with with_worktree(folder) as inc:
        clock = Clock()
        inc.systems = replace(inc.systems, now=clock)
        work_on(inc.path)
        write(inc.home, {"logs/web.log": "one\ntwo\n"})
        yield inc, clock


def stopped(inc: Incarnation) -> AgentState:
    return AgentState(id=inc.id, name=inc.name, generation=inc.generation, reason="stop asked by a person")


def refs(inc: Incarnation) -> list[str]:
    return git(inc.repo.root, "for-each-ref", "--format=%(refname)", "refs/envmgr/").splitlines()


def folders(inc: Incarnation) -> list[str]:
    return sorted(path.name for path in inc.layout.archive.iterdir()) if inc.layout.archive.is_dir() else []


async def tidy(inc: Incarnation, keep: Keep) -> list[int]:
    """Numbers of the entries that stay."""
    supervisor, _ = await take_over(inc, Lifecycle.STOPPED)
    async with anyio.create_task_group() as group:
        await Archive(supervisor, group, keep).tidy()
    return [entry.id for entry in await keeping.entries_of(inc.systems)]


@proves("ARCHIVE-006")
async def test_entries_go_when_they_are_too_old_and_pinned_ones_stay(tmp_path: Path) -> None:
    async with ended(tmp_path) as (inc, clock):
        old = await archive(inc, stopped(inc))
        inc.generation = 2
        pinned = await keeping.pin(inc.systems, await archive(inc, stopped(inc)), is_pinned=True)
        clock.at += 20 * DAY_S
        inc.generation = 3
        young = await archive(inc, stopped(inc))
        clock.at += 20 * DAY_S

        stay = await tidy(inc, Keep(age_s=30 * DAY_S))

        assert stay == [pinned.id, young.id]
        assert folders(inc) == sorted([pinned.folder, young.folder])
        assert refs(inc) == sorted([pinned.ref, young.ref])
        assert old.ref not in refs(inc)


@proves("CHECKPOINT-002")
async def test_checkpoints_of_agents_that_are_gone_go_with_time_and_those_of_others_stay(
    tmp_path: Path,
) -> None:
    async with ended(tmp_path) as (inc, clock):
        mine = await checkpoint(inc, "respawn")
        gone = replace(mine, agent=AgentId("0tter001"), ref="refs/envmgr/0tter001/1-1")
        git(inc.repo.root, "update-ref", gone.ref, mine.ref)
        await inc.systems.store.write(lambda tx: tx.add_snapshot(gone))
        clock.at += 40 * DAY_S

        await tidy(inc, Keep(age_s=30 * DAY_S))

        assert refs(inc) == [mine.ref]


@proves("ARCHIVE-006")
async def test_entries_go_the_oldest_first_when_they_are_too_large(tmp_path: Path) -> None:
    async with ended(tmp_path) as (inc, _):
        made = []
        for generation in (1, 2, 3):
            inc.generation = generation
            made.append(await archive(inc, stopped(inc)))
        sizes = [entry.manifest.bytes for entry in await keeping.entries(inc.systems, inc.layout)]

        stay = await tidy(inc, Keep(age_s=DAY_S, max_bytes=sum(sizes[1:])))

        assert stay == [made[1].id, made[2].id]


@proves("ARCHIVE-007")
async def test_an_entry_made_again_replaces_the_one_of_the_same_generation(tmp_path: Path) -> None:
    async with ended(tmp_path) as (inc, _):
        supervisor, actor = await take_over(inc, Lifecycle.STOPPED)
        async with anyio.create_task_group() as group:
            kept = Archive(supervisor, group, Keep())
            await kept.before_removal(actor, inc, cause="")
            (first,) = await keeping.entries_of(inc.systems)
            write(inc.path, {"later": "later\n"})

            await kept.before_removal(actor, inc, cause="rm")

        (second,) = await keeping.entries_of(inc.systems)
        assert second.id != first.id
        assert (folders(inc), refs(inc)) == ([second.folder], [second.ref])
        assert git(inc.repo.root, "show", f"{second.ref}:later") == "later"


@proves("ARCHIVE-007")
@pytest.mark.parametrize("point", ["archive-noted", "archive-gathered", "archive-packed"])
async def test_an_entry_that_was_cut_off_is_none_and_leaves_nothing(tmp_path: Path, point: str) -> None:
    class Killed(BaseException):
        pass

    def reach(name: str) -> None:
        if name == point:
            raise Killed

    async with ended(tmp_path) as (inc, _):
        with pytest.raises(Killed):
            await archive(inc, stopped(inc), reach=reach)

        assert (await keeping.entries_of(inc.systems), folders(inc), refs(inc)) == ([], [], [])
        assert await saving.notes(inc.systems) == []


@proves("ARCHIVE-007")
async def test_folders_that_a_killed_daemon_left_are_swept_and_nobody_elses(tmp_path: Path) -> None:
    async with ended(tmp_path) as (inc, _):
        kept = await archive(inc, stopped(inc))
        for name in (".0tter000-2-17", "0tter000-2-18"):
            write(inc.layout.archive / name, {"manifest.json": "{}"})

        await tidy(inc, Keep(age_s=DAY_S))

        assert folders(inc) == [kept.folder]


@proves("ARCHIVE-008")
async def test_what_cannot_be_kept_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    async with ended(tmp_path) as (inc, _):
        make_repository(inc.path / "inner")

        await archive(inc, stopped(inc))

        (entry,) = await keeping.entries(inc.systems, inc.layout)
        (lack,) = entry.manifest.missing
        assert (lack.part, lack.why) == (
            "files",
            "inner is a repository of its own, which a snapshot cannot save",
        )
        assert (entry.manifest.ref, refs(inc)) == ("", [])
        assert [r.subject for r in entry.manifest.recordings] == ["web"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of which nothing is left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    with (disk / "filler").open("wb", buffering=0) as filler:
        filler.write(bytes(64 * 1024))
    yield disk
    subprocess.run(["umount", disk], check=True)


@proves("ARCHIVE-008")
async def test_a_full_disk_keeps_no_agent_from_being_removed_and_is_told(
    tmp_path: Path, full_disk: Path
) -> None:
    async with ended(tmp_path) as (inc, _):
        inc.layout.archive.symlink_to(full_disk)
        supervisor, actor = await take_over(inc, Lifecycle.STOPPED)

        async with anyio.create_task_group() as group:
            await Archive(supervisor, group, Keep()).before_removal(actor, inc, cause="rm")

        told = await inc.systems.store.read(lambda tx: tx.last_events(agent=inc.id, limit=1))
        assert "was not archived: " in str(told[0].data["text"])
        assert "No space left" in str(told[0].data["text"])
        assert (await keeping.entries_of(inc.systems), refs(inc)) == ([], [])
        assert [path.name for path in full_disk.iterdir()] == ["filler"]


@proves("ARCHIVE-003")
def test_a_log_is_kept_over_its_rotations_from_where_the_last_entry_ended(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "web.log"), max_bytes=30, keep=5, base=0)
    log.write(b"before\n")
    begin = mark(tmp_path / "web.log")
    for number in range(6):
        log.write(f"line {number} with words\n".encode())
    log.close()
    packer = Packer(folder=tmp_path / "entry", secrets=(), until=time.monotonic() + 60)

    packer.log(Log(subject="web", path=tmp_path / "web.log", begin=begin))

    (kept,) = packer.recordings
    text = reading.text_of(tmp_path / "entry", kept.file, lines=0)
    assert text == "".join(f"line {number} with words\n" for number in range(6))
    assert [s["source"] for s in kept.segments][-1] == "web.log"
    assert sum(s["bytes"] for s in kept.segments) == kept.bytes == len(text)


@proves("ARCHIVE-003")
def test_of_a_log_that_is_too_large_the_newest_part_is_kept(tmp_path: Path) -> None:
    with (tmp_path / "web.log").open("wb") as file:
        file.truncate(packing.MOST_BYTES)
        file.seek(0, 2)
        file.write(b"the end\n")
    packer = Packer(folder=tmp_path / "entry", secrets=(), until=time.monotonic() + 60)

    packer.log(Log(subject="web", path=tmp_path / "web.log"))

    (kept,) = packer.recordings
    assert (kept.bytes, kept.left_out_bytes) == (packing.MOST_BYTES, 8)
    assert reading.text_of(tmp_path / "entry", kept.file, lines=1).endswith("the end\n")


@proves("ARCHIVE-002")
def test_a_secret_is_masked_wherever_the_reading_of_a_log_cuts_it(tmp_path: Path) -> None:
    secret = "s3cret-value"
    for shift in range(len(secret) + 1):
        (tmp_path / "web.log").write_bytes(b"x" * ((1 << 18) - shift) + secret.encode() + b"!\n")
        packer = Packer(folder=tmp_path / f"{shift}", secrets=(secret, "a"), until=time.monotonic() + 60)

        packer.log(Log(subject="web", path=tmp_path / "web.log"))

        data = gzip.decompress((tmp_path / f"{shift}" / "logs" / "web.gz").read_bytes())
        assert data == b"x" * ((1 << 18) - shift) + b"********!\n"


@proves("ARCHIVE-008")
def test_a_log_for_which_there_is_no_time_is_named_as_missing(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("much\n")
    packer = Packer(folder=tmp_path / "entry", secrets=(), until=time.monotonic() - 1)

    packer.log(Log(subject="web", path=tmp_path / "web.log"))

    assert [(m.part, m.why) for m in packer.missing] == [("log web", "there was no time left")]
    assert packer.recordings == []
    with pytest.raises(Unavailable):
        reading.text_of(tmp_path / "entry", "logs/web.gz", lines=0)


@proves("MASK-003")
async def test_values_of_telling_names_and_what_looks_like_a_secret_are_not_in_the_archive(
    tmp_path: Path,
) -> None:
    typed, seen = "typed-in-the-template", "abcdef-bearer-12345"
    async with ended(tmp_path) as (inc, _):
        inc.spec = replace(inc.spec, env={**inc.spec.env, "OPENAI_API_KEY": typed, "MODE": "dev"})
        write(inc.home, {"logs/web.log": f"key is {typed}\nAuthorization: Bearer {seen}\nGET /\n"})

        folder = inc.layout.archive / (await archive(inc, stopped(inc))).folder

        said = {path.name: _content(path) for path in folder.rglob("*") if path.is_file()}
        assert [name for name, text in said.items() if typed in text or seen in text] == []
        assert "GET /" in said["web.gz"]
        assert '"MODE": "dev"' in said["template.json"]


def _content(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
