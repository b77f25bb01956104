"""The database as a file: who may read it, and what is said when it is not as it should be."""

from __future__ import annotations

import resource
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.errors import Unavailable
from envmgr.model.event import NewEvent
from envmgr.protocols.store import Transaction
from envmgr.store.sqlite import SqliteStore
from tests.support.requirements import proves
from tests.support.specs import record

pytestmark = pytest.mark.anyio


async def _filled(path: Path) -> Path:
    store = await SqliteStore.open(path)
    await store.write(lambda tx: tx.insert_agent(record("red")))
    await store.write(lambda tx: [tx.append(NewEvent(kind="tick", data={"n": n}), at=n) for n in range(2000)])
    await store.close()
    return path


@proves("STORE-012")
async def test_what_was_written_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    path = await _filled(tmp_path / "state.db")

    store = await SqliteStore.open(path)
    found = await store.read(lambda tx: (tx.agents(), len(tx.events(limit=5000))))
    await store.close()

    assert found == ([record("red")], 2000)


@proves("STORE-010")
async def test_only_its_owner_can_read_the_state(tmp_path: Path) -> None:
    folder = tmp_path / "share" / "envmgr"
    store = await SqliteStore.open(folder / "state.db")
    await store.write(lambda tx: tx.put("key", "value"))

    modes = {file.name: stat.filemode(file.stat().st_mode) for file in [folder, *folder.iterdir()]}
    await store.close()

    assert modes == {
        "envmgr": "drwx------",
        "state.db": "-rw-------",
        "state.db-wal": "-rw-------",
        "state.db-shm": "-rw-------",
    }


@proves("R-38")
async def test_the_database_is_in_wal_mode(tmp_path: Path) -> None:
    path = await _filled(tmp_path / "state.db")

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwrite_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database at all")


def _overwrite_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def _empty_but_for_the_log(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name("state.db-wal").write_bytes(b"\x37\x7f\x06\x82")


@proves("STORE-006")
@pytest.mark.parametrize("damage", [_cut, _overwrite_header, _overwrite_pages, _empty_but_for_the_log])
async def test_a_damaged_file_is_reported_with_a_way_out_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = await _filled(tmp_path / "state.db")
    damage(path)
    before = path.read_bytes()

    with pytest.raises(Unavailable, match=r"state\.db is damaged") as caught:
        await SqliteStore.open(path)

    assert "Move the file away" in caught.value.hint
    assert path.read_bytes() == before


@proves("STORE-006")
async def test_a_torn_log_loses_only_what_was_never_answered(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    await store.write(lambda tx: tx.put("key", "value"))
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    (tmp_path / "copy.db-wal").write_bytes((tmp_path / "state.db-wal").read_bytes() + b"half a fra")
    await store.close()

    torn = await SqliteStore.open(copy)
    found = await torn.read(lambda tx: tx.get("key"))
    await torn.close()

    assert found == "value"


@proves("STORE-006")
async def test_a_path_that_cannot_be_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for path in (tmp_path, tmp_path / "file" / "state.db"):
        with pytest.raises(Unavailable, match="cannot be opened") as caught:
            await SqliteStore.open(path)
        assert caught.value.hint


@proves("STORE-005")
async def test_a_database_of_a_newer_envmgr_is_not_opened(tmp_path: Path) -> None:
    path = await _filled(tmp_path / "state.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")

    with pytest.raises(Unavailable, match="newer envmgr"):
        await SqliteStore.open(path)


@proves("R-38")
async def test_a_lock_of_another_process_is_waited_for(tmp_path: Path) -> None:
    path = await _filled(tmp_path / "state.db")
    store = await SqliteStore.open(path)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(store.write, lambda tx: tx.put("key", "value"))
            # A round trip of the reader, which was asked later: by then the writer has its change and not the lock.
            assert await store.read(lambda tx: tx.get("key")) is None
            other.execute("COMMIT")

    assert await store.read(lambda tx: tx.get("key")) == "value"
    await store.close()


@contextmanager
def _files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """The nearest to a full disk that needs no disk: the kernel refuses to let any file of ours grow further."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@proves("STORE-007")
async def test_when_nothing_more_can_be_written_writes_fail_whole_and_work_again_afterwards(
    tmp_path: Path,
) -> None:
    path = await _filled(tmp_path / "state.db")
    store = await SqliteStore.open(path)
    await store.write(lambda tx: tx.put("before", "kept"))

    def large(tx: Transaction) -> None:
        tx.put("large", "x" * 3_000_000)
        tx.append(NewEvent(kind="large"), at=1.0)

    with _files_no_larger_than(1_000_000), pytest.raises(Unavailable, match="written") as caught:
        await store.write(large)

    await store.write(lambda tx: tx.put("after", "works"))
    found = await store.read(lambda tx: [tx.get(key) for key in ("before", "large", "after")])
    await store.close()
    assert found == ["kept", None, "works"]
    assert caught.value.hint
