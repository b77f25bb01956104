"""Each shape from the real world becomes a template that is valid as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.config.importers import proposing
from envmgr.config.nodes import leaves, plain
from envmgr.config.yaml_source import read_yaml
from tests.support.imports import ALL_SHAPES, Shape, shape, spec
from tests.support.requirements import proves
from tests.support.templates import Desk

EACH = pytest.mark.parametrize("wanted", ALL_SHAPES, ids=lambda wanted: wanted.name)


@EACH
@proves("IMP-001")
def test_a_shape_of_the_real_world_becomes_a_valid_template(tmp_path: Path, wanted: Shape) -> None:
    found = spec(tmp_path, shape(tmp_path, wanted), profiles=())

    assert sorted(each.name for each in found.services) == sorted(wanted.services)


@EACH
@proves("IMP-002")
def test_the_written_template_says_what_was_read(tmp_path: Path, wanted: Shape) -> None:
    imported = shape(tmp_path, wanted)
    text = proposing.template(imported, name="t", sources=wanted.files, agent=["  kind: command"])
    back = plain(read_yaml(text, "t.yaml"))
    assert isinstance(back, dict)

    said = plain(imported.tree)
    assert isinstance(said, dict)
    assert {key: back[key] for key in said} == said
    for finding in imported.findings:
        assert finding.says in " ".join(line.lstrip("# ") for line in text.splitlines())


@EACH
@proves("IMP-003")
def test_every_value_knows_the_line_it_comes_from(tmp_path: Path, wanted: Shape) -> None:
    imported = shape(tmp_path, wanted)
    shown = {str(path.relative_to(tmp_path)) for path in imported.files}

    for path, leaf in leaves(imported.tree):
        assert leaf.mark.file in shown, path
        assert leaf.mark.line >= 1, path


@EACH
@proves("IMP-003")
def test_a_template_imports_a_shape_in_place(tmp_path: Path, wanted: Shape) -> None:
    shape(tmp_path, wanted)
    desk = Desk(tmp_path)
    files = ", ".join(wanted.files)
    profiles = ", ".join(wanted.profiles)
    desk.write(f"envmgr: 1\nimport: {{path: [{files}], profiles: [{profiles}]}}\nagent: {{}}\n")

    template = desk.templates.load("t", tmp_path)
    found = desk.templates.resolve(template, repo=tmp_path, name="a", slug="a", params={}, environment={})

    assert sorted(each.name for each in found.services) == sorted(wanted.services)
