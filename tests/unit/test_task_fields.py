"""What is asked about tasks is bounded before anybody looks at it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envmgr.app import moments
from envmgr.app.operations import parse
from envmgr.app.registry import OPERATIONS
from envmgr.errors import Invalid, UsageError
from tests.support.requirements import proves

_MB = "x" * 1_000_000


def _deep(levels: int) -> Any:  # Any: JSON
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return {"a": value}


@proves("QUEUE-012")
@pytest.mark.parametrize(
    "given",
    [
        {"description": ""},
        {"description": _MB},
        {"description": "a\x00b"},
        {"description": "\ud800"},
        {"priority": 0},
        {"priority": 11},
        {"priority": "high"},
        {"task_type": "two words"},
        {"task_type": ""},
        {"depends_on": ["x"] * 1001},
        {"depends_on": [_MB]},
        {"claims": ["a"] * 101},
        {"capabilities": ["a\x00"]},
        {"max_attempts": 0},
        {"dependents": "explode"},
        {"budget": {"tokens": -1}},
        {"budget": {"tokens": 10**30}},
        {"budget": "not json"},
        {"input_data": {"a": _MB}},
        {"input_data": {"a": "\x00"}},
        {"input_data": {"a": "\ud800"}},
        {"input_data": {"a": float("nan")}},
        {"input_data": _deep(64)},
        {"input_data": [1]},
        {"input_data": "[" * 100_000},
        {"idempotency_key": _MB},
        {"colour": "red"},
    ],
    ids=lambda given: f"{next(iter(given))}={str(next(iter(given.values())))[:20]!r}",
)
def test_a_submission_out_of_bounds_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parse(OPERATIONS["task.submit"], {"description": "x", **given})


def test_what_is_within_bounds_is_taken() -> None:
    ask: Any = parse(
        OPERATIONS["task.submit"],
        {"description": "x" * 65_536, "input_data": _deep(60), "priority": 10, "type": "fix", "locks": ["a"]},
    )

    assert (ask.task_type, ask.claims, ask.priority) == ("fix", ["a"], 10)


@pytest.mark.parametrize(
    "given", [{"result": {"log": "x" * 65_536}}, {"lease_token": -1}, {"error_code": "x" * 300}]
)
def test_a_report_out_of_bounds_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parse(OPERATIONS["task.complete"], {"task_id": "t-000001", **given})


def test_the_command_line_gives_json_as_text() -> None:
    ask: Any = parse(
        OPERATIONS["task.complete"], {"task_id": "t-1", "result": json.dumps({"a": 1}), "usage": ""}
    )

    assert (ask.result, ask.usage.tokens) == ({"a": 1}, 0)


@pytest.mark.parametrize(
    ("text", "at"), [("30m", 2800.0), ("1970-01-01T01:00:00Z", 3600.0), ("1970-01-01T01:00:00+01:00", 0.0)]
)
def test_moments_are_dates_with_a_zone_or_lengths_from_now(text: str, at: float) -> None:
    assert moments.read(text, now=1000.0) == at


def test_of_what_was_lengths_are_counted_backwards() -> None:
    assert moments.past("30m", now=2800.0) == 1000.0
    assert moments.past("1970-01-01T01:00:00Z", now=0.0) == 3600.0


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-11-20", "2026-11-20T18:00:00", "1969-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "30"],
)
def test_words_that_are_no_moment(text: str) -> None:
    with pytest.raises(Invalid, match="no moment"):
        moments.read(text, now=1000.0)
