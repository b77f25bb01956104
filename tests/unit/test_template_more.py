"""Keys that few templates need: each reaches the spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.requirements import proves
from tests.support.templates import HEAD, Desk

EVERYTHING = (
    HEAD
    + """\
agent: {}
workspace: {cache: node_modules, link: [data, models/*]}
"""
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@proves("TMPL-006")
def test_large_ignored_folders_reach_the_spec(desk: Desk) -> None:
    workspace = desk.spec(EVERYTHING).workspace

    assert workspace.cache == ("node_modules",)
    assert workspace.link == ("data", "models/*")
