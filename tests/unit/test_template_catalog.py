from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from envmgr.config.templates.catalog import Origin, Templates, built_in_dirs
from envmgr.config.templates.reference import keys, markdown
from envmgr.core.graph import start_order
from envmgr.errors import NotFound
from tests.support.requirements import ROOT, proves
from tests.support.templates import HEAD, WHOLE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Template `web` in all three places, `mine` in the user's, `plain` among the built-in ones."""
    user, built_in, repo = tmp_path / "user", tmp_path / "built-in", tmp_path / "repo"
    for folder, names in ((user / "templates", ["web", "mine"]), (built_in, ["web", "plain"]), (repo, [])):
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.yaml").write_text(f"{WHOLE}description: {folder.name}\n", encoding="utf-8")
    desk = Desk(repo, user=user, built_in=(built_in,))
    desk.write(WHOLE + "description: repo\n", "web.yaml")
    return desk


@proves("TMPL-009")
def test_the_repository_comes_first_then_the_user_then_the_built_in(desk: Desk) -> None:
    entries = desk.templates.list(desk.repo)

    assert [(entry.name, entry.origin, entry.is_shadowed) for entry in entries] == [
        ("web", Origin.REPOSITORY, False),
        ("mine", Origin.USER, False),
        ("web", Origin.USER, True),
        ("plain", Origin.BUILT_IN, False),
        ("web", Origin.BUILT_IN, True),
    ]
    assert desk.templates.load("web", desk.repo).description == "repo"
    assert desk.templates.load("web", None).description == "templates"
    assert desk.templates.show("plain", desk.repo).path == "(built-in)/plain.yaml"


def test_a_template_can_build_on_the_one_it_shadows(desk: Desk) -> None:
    path = desk.write(HEAD + "extends: web\nenv: {A: b}\n", "web.yaml")

    assert desk.templates.load(path, desk.repo).description == "templates"


@proves("TMPL-009")
def test_an_unknown_template_names_the_nearest_and_where_was_looked(desk: Desk) -> None:
    with pytest.raises(NotFound) as caught:
        desk.templates.load("wep", desk.repo)

    assert caught.value.exit == 4
    assert caught.value.message == "no template 'wep'"
    assert caught.value.hint.startswith("Did you mean 'web'? Looked in .envmgr/templates, ")


def test_the_single_template_of_a_repository_is_called_by_its_name_or_default(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    path = desk.write(WHOLE, "../template.yaml")

    assert [entry.name for entry in desk.templates.list(tmp_path)] == ["default"]
    path.write_text(WHOLE + "name: shop\n", encoding="utf-8")
    assert desk.templates.load("shop", tmp_path).path.samefile(path)


def test_one_broken_file_does_not_hide_the_others(desk: Desk) -> None:
    desk.write("a: [", "broken.yaml")

    broken, *others = desk.templates.list(desk.repo)

    assert broken.problem.startswith(".envmgr/templates/broken.yaml:1:")
    assert len(others) == 5


def test_a_file_can_be_named_by_its_path(desk: Desk) -> None:
    desk.write(WHOLE, "web.yaml")

    assert desk.templates.load(".envmgr/templates/web.yaml", desk.repo).name == "web"
    with pytest.raises(NotFound):
        desk.templates.load("./gone.yaml", desk.repo)
    with pytest.raises(NotFound):
        desk.templates.validate(desk.repo / "gone.yaml")


def test_a_template_is_checked_by_name_or_path(desk: Desk) -> None:
    desk.write(WHOLE + "oops: 1\n", "web.yaml")

    by_name, by_path = (desk.templates.check(one, desk.repo) for one in ("web", ".envmgr/templates/web.yaml"))

    assert by_name == by_path
    assert [problem.path for problem in by_name] == ["oops"]
    assert list(desk.templates.check("plain", desk.repo)) == []


@pytest.mark.parametrize("name", ["shell", "claude", "web", "fullstack"])
@proves("TMPL-011")
def test_built_in_templates_are_sound_and_resolve_without_params(name: str, tmp_path: Path) -> None:
    templates = Templates(None)
    template = templates.load(name, None)

    spec = templates.resolve(template, repo=tmp_path, name="a", slug="a", params={}, environment=os.environ)

    assert template.warnings == ()
    assert template.description
    assert spec.assistant.kind == ("claude_code" if name == "claude" else "command")


def test_the_web_template_takes_another_server_and_another_agent(tmp_path: Path) -> None:
    templates = Templates(None)
    params = {"serve": "npm run dev -- --port ${ports.http}", "agent": "claude_code"}

    spec = templates.resolve(
        templates.load("web", None), repo=tmp_path, name="a", slug="a", params=params, environment={}
    )

    assert spec.services[0].command == "npm run dev -- --port ${ports.http}"
    assert (spec.assistant.kind, spec.assistant.command) == ("claude_code", "")


def test_the_fullstack_template_starts_data_first_and_takes_other_images_and_programs(tmp_path: Path) -> None:
    templates = Templates(None)
    params = {
        "postgres": "local/postgres",
        "python": "/opt/my python",
        "front": "npm run dev -- --port ${ports.http}",
    }

    spec = templates.resolve(
        templates.load("fullstack", None), repo=tmp_path, name="a", slug="a", params=params, environment={}
    )

    services = {service.name: service for service in spec.services}
    order = start_order({name: [edge.service for edge in s.depends_on] for name, s in services.items()})
    assert order == ("postgres", "redis", "migrate", "api", "front")
    assert [s.container.image for s in services.values() if s.container] == [
        "local/postgres",
        "redis:7-alpine",
    ]
    assert services["api"].command == "exec '/opt/my python' api.py"
    assert services["front"].command == "npm run dev -- --port ${ports.http}"
    assert [volume.name for volume in spec.volumes] == ["pgdata"]
    assert services["postgres"].exports == {
        "DATABASE_URL": "postgres://shop@${services.postgres.host}:${ports.sql}/shop"
    }


def test_built_in_templates_are_those_of_the_checkout() -> None:
    assert ROOT / "templates" in built_in_dirs()


def test_the_schema_for_editors_is_json_and_knows_every_section() -> None:
    schema = json.loads(json.dumps(Templates(None).json_schema()))

    assert {"services", "agent", "workspace", "gc"} <= set(schema["properties"])
    assert schema["required"] == ["envmgr", "agent"]
    assert schema["additionalProperties"] is False


@proves("TMPL-012")
def test_the_reference_page_is_fresh_and_names_every_key() -> None:
    page = (ROOT / "docs" / "reference" / "template.md").read_text(encoding="utf-8")

    assert page == markdown(), "run: python -m envmgr.config.templates.reference docs/reference/template.md"
    assert [key for names in keys().values() for key in names if f"| `{key}` |" not in page] == []
