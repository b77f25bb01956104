"""The trail's arithmetic, for any rows."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from envmgr.core.audit_chain import GENESIS, chained, is_whole, path, root, root_by, row_from, row_plain
from envmgr.core.audit_walk import Walk
from envmgr.model.audit import Entry, Head, Row
from tests.support.requirements import proves

_WORDS = st.text(max_size=12)
_ENTRIES = st.builds(
    Entry,
    at_us=st.integers(0, 2**53),
    **dict.fromkeys(Entry._fields[1:-1], _WORDS),
    latency_us=st.none() | st.integers(0, 2**53),
)
_HASHES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40, unique=True)


def _chain(entries: list[Entry]) -> list[Row]:
    rows: list[Row] = []
    for entry in entries:
        prev = rows[-1].hash if rows else GENESIS
        rows.append(Row(len(rows) + 1, entry, prev, chained(prev, len(rows) + 1, entry)))
    return rows


def _findings(rows: list[Row]) -> int:
    walk = Walk.begin(Head(0, GENESIS), ())
    for row in rows:
        walk.take(row)
    return len(walk.findings)


@proves("TRAIL-007")
@given(_ENTRIES)
def test_a_hash_is_that_of_the_rows_json_array_and_survives_being_written_down(entry: Entry) -> None:
    (row,) = _chain([entry])
    text = json.dumps([row.seq, *entry], separators=(",", ":"))

    assert row.hash == sha256(GENESIS + text.encode()).digest()
    assert row_from(json.loads(json.dumps(row_plain(row)))) == row


@proves("TRAIL-003")
@given(st.lists(_ENTRIES, min_size=1, max_size=8), st.data())
@settings(max_examples=60)
def test_any_change_of_any_field_of_any_row_is_found(entries: list[Entry], data: st.DataObject) -> None:
    rows = _chain(entries)
    assert _findings(rows) == 0

    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(Entry._fields))
    old = getattr(rows[at].entry, name)
    new: Any = data.draw(
        (_WORDS if isinstance(old, str) else st.integers(0, 2**53)).filter(lambda v: v != old)
    )
    changed = rows[at]._replace(entry=rows[at].entry._replace(**{name: new}))

    assert not is_whole(changed)
    assert _findings([*rows[:at], changed, *rows[at + 1 :]]) == 1


@proves("TRAIL-003")
@given(st.lists(_ENTRIES, min_size=2, max_size=8), st.data())
@settings(max_examples=60)
def test_a_row_that_is_missing_doubled_or_elsewhere_is_found(
    entries: list[Entry], data: st.DataObject
) -> None:
    rows = _chain(entries)
    at = data.draw(st.integers(0, len(rows) - 2))

    assert _findings([*rows[:at], *rows[at + 1 :]]) > 0
    assert _findings([*rows[: at + 1], *rows[at:]]) > 0
    assert _findings([*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]]) > 0


@proves("TRAIL-004")
@given(_HASHES, st.data())
def test_every_leaf_leads_to_the_root_and_no_other_does(hashes: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(hashes) - 1))
    way, top = path(hashes, at), root(hashes)

    assert root_by(hashes[at], at, count=len(hashes), path=way) == top
    other = data.draw(st.binary(min_size=32, max_size=32).filter(lambda one: one != hashes[at]))
    assert root_by(other, at, count=len(hashes), path=way) != top
