"""Whoever changes the audit trail is found out, by whichever door they come."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from envmgr.core.audit_chain import chained
from envmgr.errors import Unavailable
from envmgr.model.audit import Entry, Verdict, Wrong
from envmgr.services.calls import Call, answering
from tests.support.requirements import proves
from tests.support.trail import NOW, OTTER, act, last, tampering, trail

pytestmark = pytest.mark.anyio

ROWS = 25  # two whole checkpoints, and a part of one


def _wrongs(verdict: Verdict) -> set[Wrong]:
    return {finding.wrong for finding in verdict.findings}


async def _made(folder: Path, *, sealed: bool = True) -> None:
    async with trail(folder) as kept:
        await act(kept, ROWS)
        if sealed:
            await kept.end()


async def _verdict(folder: Path) -> Verdict:
    async with trail(folder) as kept:
        return await kept.verify()


@proves("TRAIL-003")
async def test_a_trail_that_nobody_touched_is_whole(tmp_path: Path) -> None:
    await _made(tmp_path)

    verdict = await _verdict(tmp_path)

    assert verdict.findings == ()
    assert (verdict.checked, verdict.first, verdict.last, verdict.sealed) == (ROWS, 1, ROWS, ROWS)
    assert verdict.statements == 3


@proves("TRAIL-002")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET outcome = 'ok' WHERE seq = 5",
        "DELETE FROM audit WHERE seq = 5",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 5",
        "REPLACE INTO audit SELECT * FROM audit WHERE seq = 25",
        "INSERT OR IGNORE INTO audit_cut VALUES (20, x'00'); DELETE FROM audit_cut",
        "UPDATE audit_cut SET through = 9",
    ],
)
async def test_the_database_itself_refuses_to_change_a_row(tmp_path: Path, statement: str) -> None:
    await _made(tmp_path)

    with tampering(tmp_path) as database:
        database.execute("INSERT INTO audit_cut VALUES (1, x'00')")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.executescript(statement)


def _update(database: sqlite3.Connection) -> None:
    database.execute("UPDATE audit SET target = 'src/other.py' WHERE seq = 7")


def _delete(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM audit WHERE seq BETWEEN 7 AND 8")


def _replace(database: sqlite3.Connection) -> None:
    row = list(database.execute("SELECT * FROM audit WHERE seq = 7").fetchone())
    row[11] = "denied"
    database.execute(f"INSERT OR REPLACE INTO audit VALUES ({','.join('?' * len(row))})", row)


def _rewrite(database: sqlite3.Connection, *, begin: int = 7) -> None:
    """Change a row and make all hashes after it fit: only what is outside of the database can tell."""
    prev = database.execute("SELECT prev FROM audit WHERE seq = ?", (begin,)).fetchone()[0]
    for seq, *rest in database.execute(
        "SELECT * FROM audit WHERE seq >= ? ORDER BY seq", (begin,)
    ).fetchall():
        entry = Entry(*rest[:-2])._replace(target="elsewhere")
        now = chained(prev, seq, entry)
        database.execute(
            "UPDATE audit SET target = 'elsewhere', prev = ?, hash = ? WHERE seq = ?", (prev, now, seq)
        )
        prev = now


def _truncate(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM audit WHERE seq > 22")


def _empty(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM audit")


def _swap_two(database: sqlite3.Connection) -> None:
    database.execute("UPDATE audit SET seq = -1 WHERE seq = 7")
    database.execute("UPDATE audit SET seq = 7 WHERE seq = 8")
    database.execute("UPDATE audit SET seq = 8 WHERE seq = -1")


def _cut_without_a_statement(database: sqlite3.Connection) -> None:
    hash_ = database.execute("SELECT hash FROM audit WHERE seq = 10").fetchone()[0]
    database.execute("INSERT INTO audit_cut VALUES (10, ?)", (hash_,))
    database.execute("DELETE FROM audit WHERE seq <= 10")


@proves("TRAIL-003")
@pytest.mark.parametrize(
    ("tamper", "wrong"),
    [
        (_update, Wrong.CHANGED),
        (_delete, Wrong.MISSING),
        (_replace, Wrong.CHANGED),
        (_rewrite, Wrong.CHECKPOINT),
        (_truncate, Wrong.TRUNCATED),
        (_empty, Wrong.TRUNCATED),
        (_swap_two, Wrong.CHANGED),
        (_cut_without_a_statement, Wrong.CUT),
    ],
)
async def test_rows_changed_behind_the_triggers_are_found(
    tmp_path: Path, tamper: Callable[[sqlite3.Connection], None], wrong: Wrong
) -> None:
    await _made(tmp_path)

    with tampering(tmp_path, unguarded=True) as database:
        tamper(database)

    assert wrong in _wrongs(await _verdict(tmp_path))


@proves("TRAIL-003")
async def test_a_dropped_trigger_is_found_and_so_is_one_that_was_made_harmless(tmp_path: Path) -> None:
    await _made(tmp_path)

    with tampering(tmp_path) as database:
        database.execute("DROP TRIGGER audit_no_update")
        database.execute("DROP TRIGGER audit_no_delete")
        database.execute("CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT 1; END")

    findings = (await _verdict(tmp_path)).findings
    assert {f.says for f in findings if f.wrong is Wrong.GUARD} == {
        "the trigger audit_no_update is not there",
        "the trigger audit_no_delete is not what it was made as",
    }


@proves("TRAIL-003")
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "CREATE TRIGGER z BEFORE INSERT ON Audit BEGIN SELECT RAISE(IGNORE); END",
            "the trigger z is not of envmgr",
        ),
        (
            "CREATE TRIGGER y AFTER INSERT ON audit_cut BEGIN DELETE FROM audit; END",
            "the trigger y is not of envmgr",
        ),
        (
            "CREATE TRIGGER x AFTER UPDATE ON setting BEGIN INSERT INTO AUDIT_CUT VALUES (9, x'00'); END",
            "the trigger x is not of envmgr",
        ),
        (
            "ALTER TABLE audit RENAME TO gone; CREATE VIEW audit AS SELECT * FROM gone",
            "the view audit is not of envmgr",
        ),
    ],
)
async def test_what_somebody_else_has_put_between_rows_and_their_table_is_found(
    tmp_path: Path, statement: str, says: str
) -> None:
    await _made(tmp_path)

    with tampering(tmp_path) as database:
        database.executescript(statement)

    async with trail(tmp_path) as kept:
        assert kept.seals.trouble  # at the start, before anybody looks
        assert says in {f.says for f in (await kept.verify()).findings if f.wrong is Wrong.GUARD}


@proves("TRAIL-001")
async def test_nothing_is_changed_whose_row_is_swallowed(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, 3)
        with tampering(tmp_path) as database:
            database.execute("CREATE TRIGGER z BEFORE INSERT ON audit BEGIN SELECT RAISE(IGNORE); END")

        call = Call(principal=OTTER, operation="lock.acquire", at=NOW)
        with answering(call), pytest.raises(Unavailable, match="takes no rows"):
            await kept.recorder.write(lambda tx: tx.put("changed", "1"))

        assert await kept.recorder.read(lambda tx: tx.get("changed")) is None
        with tampering(tmp_path) as database:
            database.execute("DROP TRIGGER z")
        await act(kept)
        assert (await kept.verify()).findings == ()


@proves("TRAIL-003")
async def test_a_tail_that_no_checkpoint_knows_is_missed_by_the_daemon_that_wrote_it(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, ROWS)
        with tampering(tmp_path, unguarded=True) as database:
            _truncate(database)
        assert Wrong.TRUNCATED in _wrongs(await kept.verify())

        await act(kept)  # what follows does not fill the gap

        assert await last(kept) == ROWS + 1
        assert Wrong.MISSING in _wrongs(await kept.verify())


@proves("TRAIL-003")
async def test_an_older_database_in_the_place_of_the_newer_is_found_also_when_it_goes_on(
    tmp_path: Path,
) -> None:
    await _made(tmp_path)
    older = tmp_path / "older.db"
    shutil.copy(tmp_path / "state.db", older)
    await _made(tmp_path)
    shutil.copy(older, tmp_path / "state.db")

    assert Wrong.TRUNCATED in _wrongs(await _verdict(tmp_path))

    await _made(tmp_path)
    verdict = await _verdict(tmp_path)
    assert Wrong.MISSING in _wrongs(verdict)
    assert verdict.last == 3 * ROWS


@proves("TRAIL-003")
async def test_somebody_elses_row_at_the_end_does_not_stop_anybody_and_is_found(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, 3)
        with tampering(tmp_path) as database:
            row = list(database.execute("SELECT * FROM audit WHERE seq = 3").fetchone())
            row[0] = 4
            database.execute(f"INSERT INTO audit VALUES ({','.join('?' * len(row))})", row)

        await act(kept, 2)

        assert Wrong.CHANGED in _wrongs(await kept.verify())


def _lines(folder: Path) -> list[str]:
    return (folder / "audit" / "checkpoints.jsonl").read_text().splitlines(keepends=True)


def _write(folder: Path, lines: list[str]) -> None:
    (folder / "audit" / "checkpoints.jsonl").write_text("".join(lines))


def _edit_a_checkpoint(folder: Path) -> None:
    lines = _lines(folder)
    lines[1] = json.dumps({**json.loads(lines[1]), "head": "00" * 32}) + "\n"
    _write(folder, lines)


def _drop_a_checkpoint(folder: Path) -> None:
    _write(folder, [_lines(folder)[0], *_lines(folder)[2:]])


def _drop_the_last_checkpoint(folder: Path) -> None:
    _write(folder, _lines(folder)[:-1])


def _drop_all_checkpoints(folder: Path) -> None:
    (folder / "audit" / "checkpoints.jsonl").unlink()


def _garble_a_checkpoint(folder: Path) -> None:
    _write(folder, [_lines(folder)[0], "{half\n", *_lines(folder)[2:]])


def _garble_the_last_checkpoint(folder: Path) -> None:
    _write(folder, [*_lines(folder)[:-1], "{half\n"])


def _lose_the_key(folder: Path) -> None:
    (folder / "audit" / "signing.key").unlink()


def _another_key(folder: Path) -> None:
    (folder / "audit" / "signing.key").write_text("11" * 32)


@proves("TRAIL-003")
@pytest.mark.parametrize(
    ("tamper", "wrong"),
    [
        (_edit_a_checkpoint, Wrong.SIGNATURE),
        (_drop_a_checkpoint, Wrong.STATEMENT),
        (_drop_the_last_checkpoint, Wrong.STATEMENT),
        (_drop_all_checkpoints, Wrong.STATEMENT),
        (_garble_a_checkpoint, Wrong.STATEMENT),
        (_garble_the_last_checkpoint, Wrong.STATEMENT),
        (_lose_the_key, Wrong.KEY),
        (_another_key, Wrong.KEY),
    ],
)
async def test_what_is_done_to_the_checkpoints_is_found(
    tmp_path: Path, tamper: Callable[[Path], None], wrong: Wrong
) -> None:
    await _made(tmp_path)

    await anyio.to_thread.run_sync(tamper, tmp_path)

    assert wrong in _wrongs(await _verdict(tmp_path))


@proves("TRAIL-003")
@pytest.mark.parametrize(
    ("harm", "trouble"),
    [
        (_lose_the_key, "no usable key"),
        (_garble_the_last_checkpoint, "a line of checkpoints.jsonl is damaged"),
    ],
)
async def test_nothing_stops_when_rows_cannot_be_vouched_for_and_no_key_is_quietly_replaced(
    tmp_path: Path, harm: Callable[[Path], None], trouble: str
) -> None:
    await _made(tmp_path)
    harm(tmp_path)
    keys = {file.name for file in (tmp_path / "audit").iterdir()}

    async with trail(tmp_path) as kept:
        await act(kept, ROWS)
        with pytest.raises(Unavailable, match=trouble):
            await kept.seals.seal()
        await kept.end()

    assert {file.name for file in (tmp_path / "audit").iterdir()} == keys
    assert (await _verdict(tmp_path)).last == 2 * ROWS


@proves("TRAIL-003")
async def test_a_crash_in_the_middle_of_a_checkpoint_is_no_tampering(tmp_path: Path) -> None:
    await _made(tmp_path)
    _write(tmp_path, [*_lines(tmp_path), '{"mark":"check'])

    await _made(tmp_path)

    verdict = await _verdict(tmp_path)
    assert (verdict.findings, verdict.sealed) == ((), 2 * ROWS)


@proves("TRAIL-003")
async def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    await _made(tmp_path)

    assert (tmp_path / "audit" / "signing.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "audit" / "checkpoints.jsonl").stat().st_mode & 0o777 == 0o600
