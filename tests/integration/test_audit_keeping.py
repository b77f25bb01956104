"""The trail can be asked, handed over and proved, and what is old leaves the database without breaking the chain."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import anyio
import pytest

from envmgr.core.audit_chain import row_plain
from envmgr.errors import NotFound, Unavailable
from envmgr.model.audit import Filter, Mark, Proof, Row, Statement, Wrong
from envmgr.services.audit.proving import doubts
from envmgr.store.audit_files import AuditFiles
from tests.support.requirements import proves
from tests.support.trail import NOW, SEAL_ROWS, act, count, last, trail

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0


@proves("TRAIL-007")
async def test_rows_are_found_by_any_of_their_marks_newest_first(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, 3)
        await act(kept, 2, operation="task.claim")

        async def found(**marks: object) -> list[int]:
            return [row.seq for row in await kept.query(Filter(**marks), limit=100)]  # type: ignore[arg-type]

        assert await found() == [5, 4, 3, 2, 1]
        assert await found(operation="lock.") == [3, 2, 1]
        assert await found(operation="lock.acquire") == [3, 2, 1]
        assert await found(operation="lock") == []
        assert await found(actor="otter") == await found(actor="otter001") == [5, 4, 3, 2, 1]
        assert await found(actor="heron") == []
        assert await found(target="/1.py") == [5, 2]
        assert await found(after_us=int((NOW + 1) * 1e6)) == []
        assert await found(before_us=int(NOW * 1e6)) == []
        assert await found(outcome="ok", decision="allowed", agent="otter001") == [5, 4, 3, 2, 1]
        assert [row.seq for row in await kept.query(Filter(), limit=2, below=4)] == [3, 2]


@proves("TRAIL-007")
async def test_whoever_has_the_exported_rows_can_make_their_hashes_again(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, 12)
        exported = [json.loads(json.dumps(row_plain(row))) async for row in kept.rows(Filter())]

    prev = "00" * 32
    for row in exported:
        *fields, said, hash_ = row.values()
        assert said == prev
        text = json.dumps(fields, separators=(",", ":"))
        prev = sha256(bytes.fromhex(said) + text.encode()).hexdigest()
        assert prev == hash_
    assert len(exported) == 12


@proves("TRAIL-004")
async def test_every_row_can_be_proved_with_the_public_key_alone(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, SEAL_ROWS + 3)

        proofs = [await kept.prove(seq) for seq in range(1, SEAL_ROWS + 4)]

    assert [await anyio.to_thread.run_sync(doubts, proof) for proof in proofs] == [[]] * (SEAL_ROWS + 3)
    assert {proof.statement.number for proof in proofs} == {1, 2}


def _other_row(proof: Proof) -> Proof:
    row = proof.row._replace(entry=proof.row.entry._replace(outcome="denied"))
    return replace(proof, row=row)


def _other_place(proof: Proof) -> Proof:
    return replace(proof, index=proof.index + 1)


def _other_path(proof: Proof) -> Proof:
    return replace(proof, path=("00" * 32, *proof.path[1:]))


def _short_path(proof: Proof) -> Proof:
    return replace(proof, path=proof.path[1:])


def _other_statement(proof: Proof) -> Proof:
    return replace(proof, statement=replace(proof.statement, at_us=1))


@proves("TRAIL-004")
@pytest.mark.parametrize("forge", [_other_row, _other_place, _other_path, _short_path, _other_statement])
async def test_a_forged_proof_does_not_hold(tmp_path: Path, forge: Callable[[Proof], Proof]) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, 5)
        proof = await kept.prove(3)

    assert await anyio.to_thread.run_sync(doubts, forge(proof)) != []
    pinned = await anyio.to_thread.run_sync(lambda: doubts(proof, public="11" * 32))
    assert "it was signed with another key" in pinned


@proves("TRAIL-004")
async def test_a_row_that_is_not_there_cannot_be_proved(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, 2)

        with pytest.raises(NotFound, match="there is no row 3"):
            await kept.prove(3)


@proves("TRAIL-005")
async def test_old_rows_go_into_files_and_the_chain_goes_on(tmp_path: Path) -> None:
    async with trail(tmp_path, keep_days=1) as kept:
        await act(kept, 25)
        moved, _ = await kept.keeping.work(now=NOW + 2 * DAY_S)
        assert moved == 25
        assert await kept.recorder.read(count) == 0
        await act(kept, 4)

        verdict = await kept.verify()
        assert verdict.findings == ()
        assert (verdict.first, verdict.last, verdict.checked, verdict.filed) == (26, 29, 4, 25)
        old = await kept.prove(7)
        assert old.row.seq == 7
        assert await anyio.to_thread.run_sync(doubts, old) == []

    async with trail(tmp_path, keep_days=1) as kept:
        await act(kept, 1)
        assert await last(kept) == 30
        assert (await kept.verify()).findings == ()


@proves("TRAIL-005")
async def test_with_many_rows_the_oldest_go_whatever_their_age_and_a_dry_run_only_counts(
    tmp_path: Path,
) -> None:
    async with trail(tmp_path, keep_rows=10) as kept:
        await act(kept, 35)
        await kept.seals.seal()

        assert await kept.keeping.work(now=NOW, is_dry=True) == (20, 0)
        assert await kept.recorder.read(count) == 35
        assert await kept.keeping.work(now=NOW) == (20, 0)
        assert await kept.recorder.read(count) == 15
        assert await kept.keeping.work(now=NOW) == (0, 0)


@proves("TRAIL-005")
async def test_a_file_of_old_rows_that_was_changed_is_found_and_one_that_is_gone_is_told(
    tmp_path: Path,
) -> None:
    async with trail(tmp_path, keep_days=1) as kept:
        await act(kept, 10)
        await kept.keeping.work(now=NOW + 2 * DAY_S)
        (file,) = (tmp_path / "audit" / "segments").iterdir()
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])

        assert [f.wrong for f in (await kept.verify()).findings] == [Wrong.FILE]

        file.unlink()
        verdict = await kept.verify()
        assert verdict.findings == ()
        assert len(verdict.notes) == 1
        with pytest.raises(NotFound):
            await kept.prove(3)


class _Cut(Exception):
    """The process ends here."""


class _Crashing(AuditFiles):
    """Ends the process at one of the steps in which rows move."""

    def __init__(self, folder: Path, at: str) -> None:
        super().__init__(folder)
        self._at = at

    def save(self, name: str, rows: Sequence[Row]) -> str:
        digest = super().save(name, rows)
        if self._at == "the file is written":
            raise _Cut
        return digest

    def add(self, statement: Statement) -> None:
        super().add(statement)
        if self._at == "the statement is written" and statement.mark is Mark.CUT:
            raise _Cut


@proves("TRAIL-005")
@pytest.mark.parametrize("at", ["the file is written", "the statement is written"])
async def test_a_crash_while_rows_move_loses_none_and_the_next_turn_goes_on(tmp_path: Path, at: str) -> None:
    async with trail(tmp_path, keep_days=1, shelf=_Crashing(tmp_path / "audit", at)) as kept:
        await act(kept, 10)
        with pytest.raises(_Cut):
            await kept.keeping.work(now=NOW + 2 * DAY_S)

    async with trail(tmp_path, keep_days=1) as kept:
        assert (await kept.verify()).findings == ()
        await kept.keeping.work(now=NOW + 2 * DAY_S)
        assert await kept.recorder.read(count) == 0
        verdict = await kept.verify()
        assert (verdict.findings, verdict.filed) == ((), 10)


@proves("TRAIL-005")
async def test_files_that_are_very_old_go(tmp_path: Path) -> None:
    async with trail(tmp_path, keep_days=1) as kept:
        await act(kept, 10)
        await kept.keeping.work(now=NOW + 2 * DAY_S)
        (file,) = (tmp_path / "audit" / "segments").iterdir()
        size = file.stat().st_size

        assert await kept.keeping.work(now=NOW + 1000 * DAY_S * 10) == (0, size)
        assert not file.exists()


@proves("TRAIL-005")
async def test_a_clock_that_is_set_years_ahead_makes_nothing_old(tmp_path: Path) -> None:
    async with trail(tmp_path, keep_days=1) as kept:
        await act(kept, 10)
        await kept.keeping.work(now=NOW + 2 * DAY_S)
        await act(kept, 10)

        ahead = await kept.keeping.work(now=NOW + 10_000 * DAY_S, steady=NOW + DAY_S / 2)

        assert ahead == (0, 0)
        assert len(list((tmp_path / "audit" / "segments").iterdir())) == 1
        assert await kept.recorder.read(count) == 10


@proves("TRAIL-003")
async def test_without_its_key_nothing_new_is_vouched_for(tmp_path: Path) -> None:
    async with trail(tmp_path) as kept:
        await act(kept, 10)
        await kept.seals.seal()
    (tmp_path / "audit" / "signing.key").unlink()

    async with trail(tmp_path) as kept:
        await act(kept, 1)
        with pytest.raises(Unavailable, match=r"no usable key in audit/signing\.key"):
            await kept.seals.seal()
