"""Real files, a real kernel, and what the watcher says about them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import watchfiles
from anyio.abc import ObjectReceiveStream

from envmgr.drivers.watch import FileWatcher
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

Bunches = ObjectReceiveStream[frozenset[Path]]


@asynccontextmanager
async def watching(
    files: Collection[Path], watcher: FileWatcher | None = None, *, settle_s: float = 0.3
) -> AsyncIterator[Bunches]:
    """Bunches of changes; the kernel's watch takes a moment to begin."""
    send, receive = anyio.create_memory_object_stream[frozenset[Path]](100)

    async def run() -> None:
        async for bunch in (watcher or FileWatcher()).changes(files, quiet_s=0.1):
            await send.send(bunch)

    async with send, receive, anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.sleep(settle_s)
        yield receive
        group.cancel_scope.cancel()


async def told(bunches: Bunches, file: Path) -> None:
    """Until a bunch names the file."""
    with anyio.fail_after(10):
        while file not in await bunches.receive():
            pass


@proves("RELOAD-005")
async def test_a_file_that_is_written_replaced_and_deleted_is_told_each_time(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("one")

    async with watching([file]) as bunches:
        file.write_text("two")
        await told(bunches, file)
        (tmp_path / "web.yaml.tmp").write_text("three")
        (tmp_path / "web.yaml.tmp").replace(file)
        await told(bunches, file)
        file.unlink()
        await told(bunches, file)


@proves("RELOAD-005")
async def test_a_file_whose_folder_does_not_exist_yet_is_told_when_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "web.yaml"

    async with watching([file]) as bunches:
        file.parent.mkdir(parents=True)
        file.write_text("one")
        await told(bunches, file)
        await anyio.sleep(0.5)  # the watch moves to the new folder
        file.write_text("two")
        await told(bunches, file)


async def test_neighbours_say_nothing(tmp_path: Path) -> None:
    file, other = tmp_path / "web.yaml", tmp_path / "other.yaml"

    async with watching([file]) as bunches:
        other.write_text("one")
        file.write_text("one")

        assert await bunches.receive() == {file}


async def test_a_linked_file_is_told_when_its_target_is_edited(tmp_path: Path) -> None:
    target, link = tmp_path / "far" / "web.yaml", tmp_path / "near" / "web.yaml"
    for folder in (target.parent, link.parent):
        folder.mkdir()
    target.write_text("one")
    link.symlink_to(target)

    async with watching([link]) as bunches:
        target.write_text("two")
        await told(bunches, link)


@proves("RELOAD-005")
async def test_when_the_kernel_refuses_files_are_polled_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("one")

    def watch(*folders: str, force_polling: bool, **options: Any) -> Any:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        yield from watchfiles.watch(*folders, **{**options, "force_polling": True, "poll_delay_ms": 50})

    async with watching([file], FileWatcher(watch=watch), settle_s=0.5) as bunches:
        file.write_text("other")
        await told(bunches, file)

    assert "limit reached" in str(caplog.records[0].__dict__["why"])


async def test_polling_can_be_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"

    async with watching([file], FileWatcher(polls=True)) as bunches:
        file.write_text("one")
        await told(bunches, file)


async def test_a_cancelled_watch_ends_at_once() -> None:
    begun = time.monotonic()

    with anyio.move_on_after(0.5):
        async for _ in FileWatcher().changes([Path("/nowhere/at/all.yaml")]):
            pass

    assert time.monotonic() - begun < 1.0


async def test_no_files_are_no_changes() -> None:
    with anyio.move_on_after(0.2) as scope:
        async for _ in FileWatcher().changes([]):
            pass

    assert scope.cancelled_caught
