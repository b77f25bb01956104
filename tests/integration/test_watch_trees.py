"""Folders that change below, on a real kernel."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ObjectReceiveStream
from watchfiles._rust_notify import RustNotify

from envmgr.drivers.trees import MOST_FOLDERS, FolderWatcher
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

Bunches = ObjectReceiveStream[frozenset[Path]]


def _open(**options: Any) -> RustNotify:
    return RustNotify(**options)


@asynccontextmanager
async def watching(
    roots: Collection[Path], *, open_: Callable[..., RustNotify] = _open, most_folders: int = MOST_FOLDERS
) -> AsyncIterator[Bunches]:
    """Bunches of changes; `node_modules` is passed by. What happens inside of the block is seen."""
    send, receive = anyio.create_memory_object_stream[frozenset[Path]](100)
    begun = anyio.Event()

    async def run() -> None:
        watcher = FolderWatcher(open_=open_, most_folders=most_folders)
        bunches = watcher.below(
            roots, ignored=lambda name: name == "node_modules", quiet_s=0.1, begun=begun.set
        )
        async for bunch in bunches:
            await send.send(bunch)

    async with send, receive, anyio.create_task_group() as group:
        group.start_soon(run)
        with anyio.fail_after(20):
            await begun.wait()
        yield receive
        group.cancel_scope.cancel()


async def told(bunches: Bunches, path: Path) -> None:
    """Until a bunch names it."""
    with anyio.fail_after(20):
        while path not in await bunches.receive():
            pass


@proves("FOLLOW-001")
async def test_files_below_a_folder_are_told_and_those_to_pass_by_are_not(tmp_path: Path) -> None:
    for folder in ("src/deep", "src/node_modules/left-pad", "other"):
        (tmp_path / folder).mkdir(parents=True)
    async with watching([tmp_path / "src"]) as bunches:
        (tmp_path / "src" / "node_modules" / "left-pad" / "index.js").write_text("x", encoding="utf-8")
        (tmp_path / "src" / "node_modules" / "new.js").write_text("x", encoding="utf-8")
        (tmp_path / "other" / "file").write_text("x", encoding="utf-8")
        (tmp_path / "src" / "deep" / "a.py").write_text("x", encoding="utf-8")
        assert await bunches.receive() == {tmp_path / "src" / "deep" / "a.py"}


@proves("FOLLOW-001")
async def test_folders_that_come_are_watched_too(tmp_path: Path) -> None:
    src = tmp_path / "src"
    async with watching([src]) as bunches:
        src.mkdir()
        await told(bunches, src)
        (src / "a" / "b").mkdir(parents=True)
        await told(bunches, src / "a")
        (src / "a" / "b" / "late.py").write_text("x", encoding="utf-8")
        await told(bunches, src / "a" / "b" / "late.py")


@proves("FOLLOW-001")
async def test_a_single_file_is_told_and_its_neighbours_are_not(tmp_path: Path) -> None:
    async with watching([tmp_path / ".env"]) as bunches:
        (tmp_path / "neighbour").write_text("x", encoding="utf-8")
        (tmp_path / ".env").write_text("A=1", encoding="utf-8")
        assert await bunches.receive() == {tmp_path / ".env"}


@proves("FOLLOW-005")
async def test_too_many_folders_are_polled_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        (tmp_path / f"folder-{number}").mkdir()
    async with watching([tmp_path], most_folders=4) as bunches:
        (tmp_path / "folder-3" / "file").write_text("x", encoding="utf-8")
        await told(bunches, tmp_path / "folder-3" / "file")
    assert "too many" in caplog.records[0].getMessage()


@proves("FOLLOW-005")
async def test_when_the_kernel_refuses_folders_are_polled_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**options: Any) -> RustNotify:
        if not options["force_polling"]:
            raise OSError("OS file watch limit reached")
        return RustNotify(**{**options, "poll_delay_ms": 50})

    async with watching([tmp_path], open_=refuse) as bunches:
        (tmp_path / "file").write_text("x", encoding="utf-8")
        await told(bunches, tmp_path / "file")
    assert "limit reached" in str(caplog.records[0].__dict__["why"])


@proves("FOLLOW-001")
async def test_nothing_is_missed_while_folders_come_and_go(tmp_path: Path) -> None:
    seen: set[Path] = set()
    files = {tmp_path / f"folder-{number}" / "sub" / "file" for number in range(12)}
    async with watching([tmp_path]) as bunches:
        for file in sorted(files):
            file.parent.mkdir(parents=True)
            await anyio.sleep(0.06)  # not to wait for anything: the pace at which folders come
            file.write_text("x", encoding="utf-8")
        with anyio.fail_after(20):
            while not files <= seen:
                seen |= await bunches.receive()


@proves("CHANGES-007")
async def test_folders_can_be_left_out_by_their_path_also_later(tmp_path: Path) -> None:
    top, left_out = tmp_path / "top", {str(tmp_path / "top" / "build")}
    (top / "build" / "deep").mkdir(parents=True)
    (top / "src" / "build").mkdir(parents=True)
    send, receive = anyio.create_memory_object_stream[frozenset[Path]](100)
    begun = threading.Event()

    async def run() -> None:
        bunches = FolderWatcher().below(
            [top],
            ignored=lambda name: False,
            left_out=left_out.__contains__,
            quiet_s=0.1,
            begun=begun.set,
        )
        async for bunch in bunches:
            await send.send(bunch)

    async with send, receive, anyio.create_task_group() as group:
        group.start_soon(run)
        await async_eventually(begun.is_set, within_s=20)
        (top / "build" / "deep" / "o").touch()
        (top / "src" / "build" / "x").touch()
        with anyio.fail_after(20):
            first = await receive.receive()
        left_out.add(str(top / "src"))
        (top / "later").mkdir()
        await told(receive, top / "later")
        (top / "src" / "build" / "y").touch()
        (top / "z").touch()
        await told(receive, top / "z")
        group.cancel_scope.cancel()

    assert first == {top / "src" / "build" / "x"}


@proves("CHANGES-007")
async def test_more_folders_than_all_may_have_are_polled(tmp_path: Path) -> None:
    opened: list[bool] = []

    def tell(**options: Any) -> RustNotify:
        opened.append(options["force_polling"])
        return RustNotify(**options)

    watcher = FolderWatcher(open_=tell, most_in_all=5)

    async def run(top: Path) -> None:
        async for _ in watcher.below([top], ignored=lambda name: False):
            pass

    for name in ("one", "two"):
        (tmp_path / name / "a" / "b").mkdir(parents=True)
    async with anyio.create_task_group() as group:
        group.start_soon(run, tmp_path / "one")
        await async_eventually(lambda: opened == [False], within_s=20)
        group.start_soon(run, tmp_path / "two")
        await async_eventually(lambda: opened == [False, True], within_s=20)
        group.cancel_scope.cancel()
