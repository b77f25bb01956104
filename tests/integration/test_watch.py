"""Real files, a real kernel, and what the watcher says about them."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable, Collection
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
async def watching(files: Collection[Path], watcher: FileWatcher | None = None) -> AsyncIterator[Bunches]:
    """Bunches of changes."""
    send, receive = anyio.create_memory_object_stream[frozenset[Path]](100)

    async def run() -> None:
        async for bunch in (watcher or FileWatcher()).changes(files, quiet_s=0.1):
            await send.send(bunch)

    async with send, receive, anyio.create_task_group() as group:
        group.start_soon(run)
        yield receive
        group.cancel_scope.cancel()


async def told(bunches: Bunches, file: Path, edit: Callable[[], object]) -> None:
    """Edit until a bunch names the file: nobody tells when a watch has begun."""
    with anyio.fail_after(20):
        while True:
            edit()
            with anyio.move_on_after(1):
                while file not in await bunches.receive():
                    pass
                return


def written(file: Path) -> Callable[[], object]:
    """Other content each time."""
    counter = itertools.count()
    return lambda: file.write_text("x" * next(counter))


@proves("RELOAD-005")
async def test_a_file_that_is_written_replaced_and_deleted_is_told_each_time(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("one")

    async with watching([file]) as bunches:
        await told(bunches, file, written(file))
        new = tmp_path / "web.yaml.tmp"
        new.write_text("three")
        await told(bunches, file, lambda: new.exists() and new.replace(file))
        await told(bunches, file, lambda: file.unlink(missing_ok=True))


@proves("RELOAD-005")
async def test_a_file_whose_folder_does_not_exist_yet_is_told_when_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "web.yaml"

    def come() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    async with watching([file]) as bunches:
        await told(bunches, file, come)
        await told(bunches, file, written(file))  # the watch has moved to the new folder


async def test_neighbours_say_nothing(tmp_path: Path) -> None:
    file, other = tmp_path / "web.yaml", tmp_path / "other.yaml"

    async with watching([file]) as bunches:
        write = written(file)
        await told(bunches, file, lambda: (other.write_text("one"), write()))
        other.write_text("two")
        write()

        assert await bunches.receive() == {file}


async def test_a_linked_file_is_told_when_its_target_is_edited(tmp_path: Path) -> None:
    target, link = tmp_path / "far" / "web.yaml", tmp_path / "near" / "web.yaml"
    for folder in (target.parent, link.parent):
        folder.mkdir()
    target.write_text("one")
    link.symlink_to(target)

    async with watching([link]) as bunches:
        await told(bunches, link, written(target))


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

    async with watching([file], FileWatcher(watch=watch)) as bunches:
        await told(bunches, file, written(file))

    assert "limit reached" in str(caplog.records[0].__dict__["why"])


async def test_polling_can_be_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"

    async with watching([file], FileWatcher(polls=True)) as bunches:
        await told(bunches, file, written(file))


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
