"""`envmgr lock overlaps`: two targets, or pairs as JSON lines."""

from __future__ import annotations

import io
import json
import sys

import pytest

from envmgr.interfaces.cli.main import main
from tests.support.requirements import proves


def _ask(*words: str) -> int:
    try:
        return main(["lock", "overlaps", *words])
    except SystemExit as end:
        return int(str(end.code))


@proves("LOCK-TARGET-004")
def test_two_targets_are_compared_and_the_exit_status_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ask("src/**/*.py", "src/api/users.py") == 0
    assert capsys.readouterr().out == "they overlap: src/api/users.py\n"

    assert _ask("src/*", "web") == 1
    assert capsys.readouterr().out == "they do not overlap\n"

    assert _ask("db:schema:users", "db:users", "--json") == 0
    assert json.loads(capsys.readouterr().out)["witness"] == "db:users"


@proves("LOCK-TARGET-004")
@pytest.mark.parametrize("words", [[], ["a"], ["a", "b", "c"], ["/a", "b"], ["", "b"], ["api:", "b"]])
def test_anything_but_two_targets_is_refused(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))

    assert _ask(*words) == 2

    said = capsys.readouterr().err
    assert said
    assert words or "`-`" in said


@proves("LOCK-TARGET-004")
def test_pairs_on_standard_input_are_answered_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        '["a", "*"]',
        "",
        '{"a": "x//y", "b": "z"}',
        "foo",
        '["/a", "b"]',
        '["a"]',
        '["feature:f", "feature:f:pause"]',
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))

    status = _ask("-")

    said = capsys.readouterr()
    assert status == 2
    assert [json.loads(line) for line in said.out.splitlines()] == [
        {"a": "a", "b": "*", "overlaps": True, "witness": "a"},
        {"a": "x/y", "b": "z", "overlaps": False, "witness": None},
        {"a": None, "b": None, "overlaps": None, "witness": None, "error": "line 4: no JSON"},
        {
            "a": "/a",
            "b": "b",
            "overlaps": None,
            "witness": None,
            "error": "line 5: /a cannot be locked: it is absolute",
        },
        {
            "a": None,
            "b": None,
            "overlaps": None,
            "witness": None,
            "error": 'line 6: neither ["a", "b"] nor {"a": ..., "b": ...}',
        },
        {"a": "feature:f", "b": "feature:f:pause", "overlaps": True, "witness": "feature:f:pause"},
    ]
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["line 4", "line 5", "line 6"]


@proves("LOCK-TARGET-004")
def test_input_that_is_there_is_read_without_being_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('\n["a", "*"]\n["a", "b"]\nfoo\n'))

    assert _ask() == 2

    said = capsys.readouterr()
    assert [json.loads(line)["overlaps"] for line in said.out.splitlines()] == [True, False, None]
    assert said.err == "line 4: no JSON\n"


@proves("LOCK-TARGET-004")
def test_pairs_come_in_any_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [[f"src/{number}", f"src/{number % 1500}"] for number in range(2500)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(json.dumps, pairs))))

    assert _ask("-") == 0

    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["overlaps"] for answer in answers] == [number < 1500 for number in range(2500)]
