"""`import:` puts what another format describes under the template's own keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk

COMPOSE = """\
services:
  db:
    image: postgres:16
    environment: {POSTGRES_USER: shop}
    volumes: [pgdata:/var/lib/postgresql/data]
  api:
    build: ./api
    depends_on: [db]
    healthcheck: {test: [CMD, check], interval: 5s}
  extra:
    image: busybox
    profiles: [tools]
volumes: {pgdata: {}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (desk.repo / "compose.yaml").write_text(COMPOSE, encoding="utf-8")
    (desk.repo / "Procfile").write_text("worker: run work\n", encoding="utf-8")
    return desk


@proves("TMPL-024")
def test_imported_services_lie_under_those_of_the_template(desk: Desk) -> None:
    text = (
        "import:\n  - path: compose.yaml\n    overrides: {services: {api: {env: {A: over, B: over}, depends_on: null}}}\n"
        "  - Procfile\nservices: {api: {env: {B: own}}, web: {command: x}}\n"
    )

    spec = desk.spec(WHOLE + text)

    services = {service.name: service for service in spec.services}
    assert list(services) == ["db", "api", "worker", "web"]
    assert (services["api"].env, services["api"].depends_on) == ({"A": "over", "B": "own"}, ())
    assert services["db"].env["POSTGRES_USER"] == "shop"
    assert [Path(file).name for file in spec.files] == ["t.yaml", "compose.yaml", "Procfile"]


@proves("TMPL-024")
def test_a_parent_may_import_and_a_child_change_it(desk: Desk) -> None:
    desk.write(HEAD + "import: compose.yaml\n", "base.yaml")

    spec = desk.spec(HEAD + "extends: base\nagent: {}\nservices: {api: null, db: {image: other}}\n")

    assert [(service.name, service.container and service.container.image) for service in spec.services] == [
        ("db", "other")
    ]


@proves("TMPL-024")
def test_only_the_named_services_are_imported(desk: Desk) -> None:
    spec = desk.spec(WHOLE + "import: {path: compose.yaml, services: [db]}\n")

    assert [service.name for service in spec.services] == ["db"]


@proves("TMPL-024")
def test_profiles_of_the_file_stay_profiles_unless_they_are_taken_in(desk: Desk) -> None:
    assert "extra" not in [s.name for s in desk.spec(WHOLE + "import: compose.yaml\n").services]
    assert "extra" in [
        s.name for s in desk.spec(WHOLE + "import: compose.yaml\n", profiles=("tools",)).services
    ]
    taken_in = desk.spec(WHOLE + "import: {path: compose.yaml, profiles: [tools]}\n")
    assert "extra" in [s.name for s in taken_in.services]


@proves("TMPL-024")
def test_explain_names_the_line_of_the_imported_file(desk: Desk) -> None:
    template = desk.load(WHOLE + "import: compose.yaml\n")

    explained = desk.templates.explain(template, repo=desk.repo, params={}, environment={})

    found = {one.path: one.origin for one in explained}
    assert found["services.db.image"] == "compose.yaml:3 (import)"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("import: gone.yaml\n", "import: there is no file gone.yaml"),
        ("import: [{format: compose}]\n", "import[0] needs 'path'"),
        ("import: {path: compose.yaml, format: cmopose}\n", "import[0].format: 'cmopose' is not one of"),
        ("import: {path: compose.yaml, servces: [a]}\n", "unknown key 'servces' in import[0]"),
    ],
)
@proves("TMPL-024")
def test_what_cannot_be_imported_is_told(desk: Desk, text: str, start: str) -> None:
    findings = desk.findings(WHOLE + text)

    assert [finding.partition(": ")[2][: len(start)] for finding in findings] == [start]
