"""Which grants can be in the way is found by an index; it may name too many, never too few."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envmgr.core.leasing import around, covers, excludes, is_same_life, may_meet, meets, stem
from envmgr.core.targets import parse_target
from envmgr.model.lock import Mode
from tests.support.requirements import proves

_NAME = st.sampled_from(["a", "b", "a0", "a-b", "*", "?", "a*", "**"])
_PATH = st.lists(_NAME, min_size=1, max_size=4).map("/".join)
_KEY = st.builds(
    "{}{}".format,
    st.sampled_from(["api:/", "api:GET /", "contract:", "flag:"]),
    st.lists(st.sampled_from(["a", "b", "a0", "*"]), min_size=1, max_size=3).map("/".join),
)
_TARGET = st.one_of(_PATH, _KEY).map(lambda text: parse_target(text).text)


@proves("LOCK-022")
@settings(max_examples=400)
@given(_TARGET, _TARGET)
def test_whatever_overlaps_stands_where_the_index_is_read(one: str, other: str) -> None:
    where = around(stem(one))
    is_read = stem(other) in where.stems or where.low < stem(other) < where.high

    assert is_read == may_meet(stem(one), stem(other))
    if meets(one, other):
        assert is_read


@pytest.mark.parametrize(
    ("target", "at"),
    [
        ("src/app/*.py", ":/src/app"),
        ("src/app.py", ":/src/app.py"),
        ("**", ":/"),
        ("db:users", "db:/users"),
        ("db:*", "db:/"),
        ("api:GET /users/{id}/posts", "api:/users"),
        ("feature:f:pause", "feature:/f/pause"),
    ],
)
def test_a_stem_is_the_literal_beginning(target: str, at: str) -> None:
    assert stem(parse_target(target).text) == at


def test_a_name_that_begins_alike_is_somewhere_else() -> None:
    assert not may_meet(stem("src"), stem("src2/a.py"))
    assert not may_meet(stem("db:users"), stem("users"))


def test_only_announcements_and_readers_go_together() -> None:
    together = {(one, other) for one in Mode for other in Mode if not excludes(one, other)}

    assert together == {
        *((Mode.INTENT, mode) for mode in Mode),
        *((mode, Mode.INTENT) for mode in Mode),
        (Mode.READ, Mode.READ),
    }


def test_who_may_write_may_read_and_not_the_other_way_round() -> None:
    assert covers(Mode.WRITE, Mode.READ)
    assert not covers(Mode.READ, Mode.WRITE)
    assert not covers(Mode.INTENT, Mode.READ)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1/5", "1/5", True), ("1/5", "1/0", True), ("1/5", "1/6", False), ("1/5", "2/5", False), ("", "", True), ("", "1/5", False)],
)  # fmt: skip
def test_a_pid_that_is_not_known_may_be_any(one: str, other: str, *, same: bool) -> None:
    assert is_same_life(one, other) is same
