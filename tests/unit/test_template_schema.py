"""The JSON Schema for editors accepts what the loader accepts, in every form, and marks what it refuses by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envmgr.config.nodes import plain
from envmgr.config.templates.catalog import Templates
from envmgr.config.templates.reference import keys
from envmgr.config.toml_source import read_toml
from envmgr.config.yaml_source import read_yaml
from tests.support.json_schema import complaints
from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk
from tests.unit import test_template_containers as containers
from tests.unit import test_template_lints as lints
from tests.unit import test_template_resolving as resolving
from tests.unit import test_template_running as running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads(json.dumps(Templates(None).json_schema()))


def marked(schema: Any, text: str) -> list[str]:
    return complaints(schema, plain(read_yaml(text, "t.yaml")))


FORMS = (
    WHOLE
    + """\
import: [compose.yaml, {path: [a.yaml, b.yaml], format: compose, services: [a], overrides: {services: {a: null}}}]
extends: [a, ./b.yaml]
params: {n: {type: int, default: 3}, b: {default: true}, e: {type: enum, values: [1, x]}}
env: {A: 1, B: true, C: null}
secrets: {A: env, B: {from: file, path: x}}
workspace: {copy: .env, setup: make, submodules: "${params.b}"}
ports: {range: 20000-29999, block: "${params.n}"}
defaults: {restart: always, ready: {period: 2s}}
hooks: {on_start: [make, [make, all], {command: x, timeout: "${params.t}", inside: a}], pre_stop: {command: x}}
volumes: {pg: {seed: {script: [a, b]}}, other: null}
profiles: {all: a, some: [a]}
x-mine: {anything: [1]}
services:
  a:
    command: [sleep, 1]
    replicas: "${params.n}"
    ports: [http, debug]
    depends_on: [b, c]
    ready: {http: /up}
    watch: src
    restart: never
    on_env_change: none
    profiles: one
    limits: {cpus: 1, memory: "${params.m}"}
    x-note: hello
  b:
    image: "${params.image}"
    build: .
    user: 1000
    ports: {http: 8080, sql: {container: "5432"}, q: "${params.n}"}
    depends_on: {a: started, c: {condition: service_healthy, restart: true}}
    healthcheck: {test: [x]}
    networks: [back]
    volumes: ["a:/b", {type: tmpfs, target: /x, size: 1MB}]
    tmpfs: [/run]
    extra_hosts: ["a:1.2.3.4"]
    watch: [src, {paths: lib, action: recreate}]
  c: null
"""
)


@proves("TMPL-026")
def test_every_short_form_is_known_to_editors(schema: Any) -> None:
    assert marked(schema, FORMS.replace("    healthcheck: {test: [x]}\n", "")) == []


VALID = {
    "resolving": resolving.EVERYTHING,
    "containers": containers.EVERYTHING,
    "running": running.EVERYTHING,
    "profiles": running.PROFILES,
    **{f"fine: {name}": text for name, text in lints.FINE.items()},
    **{f"built-in: {path.stem}": path.read_text("utf-8") for path in (ROOT / "templates").glob("*.yaml")},
}


@pytest.mark.parametrize("name", VALID)
@proves("TMPL-026")
def test_what_the_loader_accepts_is_not_marked(schema: Any, name: str) -> None:
    assert marked(schema, VALID[name]) == []


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (WHOLE + "servics: {}\n", "$: servics is unknown"),
        (WHOLE + "services: {a: {comand: x}}\n", "$.services.a: comand is unknown"),
        (WHOLE + "services: {a: {kind: thing}}\n", "$.services.a.kind: 'thing' is not"),
        (WHOLE + "services: {a: {volumes: [{source: b}]}}\n", "$.services.a.volumes[0]"),
        (WHOLE + "services: {a: {replicas: 11}}\n", "$.services.a.replicas: maximum 10"),
        (WHOLE + "services: {a: {stop: {grace: soon}}}\n", "$.services.a.stop.grace: 'soon' does not match"),
        (WHOLE + "services: {a: {on_config_change: none}}\n", "$.services.a: on_config_change is unknown"),
        (HEAD, "$: agent is missing"),
    ],
)
@proves("TMPL-026")
def test_what_the_loader_refuses_by_name_is_marked(desk: Desk, schema: Any, text: str, mark: str) -> None:
    found = marked(schema, text)

    assert len(found) == 1
    assert found[0].startswith(mark)
    assert desk.findings(text)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@proves("TMPL-026")
def test_every_key_of_every_table_is_in_the_schema_with_a_sentence(schema: Any) -> None:
    tables = {**schema["$defs"], "Document": schema}
    for model, names in keys().items():
        assert list(tables[model]["properties"]) == names
        for name in names:
            assert described(tables, tables[model]["properties"][name]), f"{model}.{name}"


def described(tables: Any, inner: Any) -> bool:
    """By itself, or by the table it leads to."""
    tables_below = [one["$ref"].rsplit("/", 1)[1] for one in inner["anyOf"] if "$ref" in one]
    return bool(inner.get("description") or any(tables[name].get("description") for name in tables_below))


def test_toml_is_of_the_same_shape(schema: Any) -> None:
    text = "envmgr = 1\n[agent]\n[services.a]\nimage = 'x'\nports = ['http']\nready = {exec = ['a'], inside = true}\n"

    assert complaints(schema, plain(read_toml(text, "t.toml"))) == []
