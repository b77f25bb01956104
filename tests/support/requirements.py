"""Tie tests to the requirements they prove.

Requirements stand in docs/requirements.toml and docs/requirements.d/*.toml, one table per id with `says`, one sentence, and
`source`. A test carries `@proves("ID")`. tests/unit/test_requirements.py fails when either side lacks the other.
"""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def proves(*ids: str) -> pytest.MarkDecorator:
    """Mark a test as proof of these requirements."""
    return pytest.mark.proves(*ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One promise, as its file states it."""

    id: str
    says: str
    source: str
    file: str


def declared() -> list[Requirement]:
    """Every requirement of the docs, in the order of the files; an id may stand in two files."""
    files = [ROOT / "docs" / "requirements.toml", *sorted((ROOT / "docs" / "requirements.d").glob("*.toml"))]
    return [
        Requirement(id=name, says=table["says"], source=table["source"], file=file.name)
        for file in files
        for name, table in tomllib.loads(file.read_text(encoding="utf-8")).items()
    ]


def proved() -> dict[str, list[str]]:
    """Id to the test files that carry it.

    Read from the sources, not from a collected session, so that it is whole whichever tests run.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in _ids_in(file):
            found[name].append(str(file.relative_to(ROOT)))
    return dict(found)


def _ids_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "proves":
            for argument in node.args:
                assert isinstance(argument, ast.Constant), (
                    f"{file}:{node.lineno}: proves() takes plain strings"
                )
                yield str(argument.value)
