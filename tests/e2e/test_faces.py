"""One registry, three faces: what an operation answers does not depend on the way in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from envmgr.app.faces import FROM_CLI, FROM_MCP
from envmgr.app.registry import OPERATIONS, Operation
from tests.support.examples import EXAMPLES, Example, Scene
from tests.support.faces import Face, faces, offering
from tests.support.host import host
from tests.support.requirements import proves

# Any throughout: JSON documents.

# These end or begin the daemon under the others.
_ENDS = {"daemon.shutdown", "daemon.start", "daemon.stop", "down"}
# What the world changes between two calls: numbers of these names, and strings of these forms.
_NUMBERS = re.compile(
    r"(.*_)?(at|s|ms|bytes|pid|port|seq|token|since|age|version|generation|percent|id|number|cpu)"
)
_STRINGS = (
    (re.compile(r"face[a-d]"), "FACE"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d|Z)?"), "TIME"),
    (re.compile(r"\b\d{8}T?-?\d{6}\b"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8,64}\b"), "HEX"),
    (re.compile(r"\b[a-z]+-\d{6,}\b"), "ID"),
    (re.compile(r"\b\d+(\.\d+)?\s?(ms|s|m|h|KiB|MiB|GiB|kB|MB|GB|%)\b"), "AMOUNT"),
    (re.compile(r"\d{2,}"), "N"),
)


@pytest.fixture(scope="module")
def everywhere() -> Iterator[list[Face]]:
    with host() as here:
        here.sleeper()
        (here.repo / "Procfile").write_text("web: sleep 1000\n", encoding="utf-8")
        here.ok("daemon", "start")
        with faces(here) as found:
            yield found


def plain(node: Any, loose: frozenset[str], key: str = "") -> Any:
    """Without what differs between two calls of one face, too."""
    if isinstance(node, Mapping):
        return {k: "LOOSE" if k in loose else plain(v, loose, k) for k, v in node.items() if k != "request"}
    if isinstance(node, list):
        return [plain(value, loose, key) for value in node]
    if isinstance(node, float) or (isinstance(node, int) and _NUMBERS.fullmatch(key)):
        return "NUMBER"
    if isinstance(node, str):
        for form, word in _STRINGS:
            node = form.sub(word, node)
    return node


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two answers differ, and in what."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from differences(one.get(key), other.get(key), f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{where}[{number}]")
    elif one != other:
        yield f"{where}: {one!r} or {other!r}"


def _answer(op: Operation, example: Example, face: Face, http: Face) -> Any:
    scene = Scene(word=face.name, http=http)
    return plain(face.call(op, example.fields(scene)), example.loose)


@proves("OPS-010")
def test_every_operation_has_an_example() -> None:
    assert set(OPERATIONS) - set(EXAMPLES) == set(), "add it to tests/support/examples.py"
    assert set(EXAMPLES) - set(OPERATIONS) == set()


@proves("OPS-010", "MCP-001")
@pytest.mark.parametrize("name", [name for name in sorted(OPERATIONS) if name not in _ENDS])
def test_an_operation_answers_the_same_through_every_face(name: str, everywhere: list[Face]) -> None:
    op, example = OPERATIONS[name], EXAMPLES[name]
    http = everywhere[1]

    answers = {face.name: _answer(op, example, face, http) for face in offering(op, everywhere)}

    first, *rest = answers.values()
    assert len(answers) >= 2 or {op.name} <= set(FROM_CLI) & set(FROM_MCP)
    assert [found for other in rest for found in differences(first, other)] == []
    failed = first["problem"] if isinstance(first, dict) and "problem" in first else {}
    assert failed.get("code", "") == example.fails, failed
