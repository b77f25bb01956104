"""`init` in a repository that already describes what it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envmgr.config.init.writing import Proposal, propose, write
from envmgr.model.spec import AgentSpec
from tests.support.requirements import proves
from tests.support.templates import Desk

INFRA = """\
services:
  db: {image: "postgres:16", environment: {POSTGRES_PASSWORD: dev}, volumes: ["./init:/docker-entrypoint-initdb.d"]}
  cache: {image: redis, profiles: [extra]}
"""
APP = "services:\n  web: {build: ., ports: ['3000:3000'], depends_on: [db]}\n  db: {image: postgres}\n"
VITE = json.dumps({"scripts": {"dev": "vite"}})


def proposed(repo: Path, files: dict[str, str]) -> tuple[Proposal, AgentSpec]:
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text, encoding="utf-8")
    proposal = propose(repo)
    write(proposal)
    desk = Desk(repo)
    template = desk.templates.load("default", repo)
    return proposal, desk.templates.resolve(
        template, repo=repo, name="a", slug="a", params={}, environment={}, profiles=()
    )


def edges(spec: AgentSpec) -> dict[str, list[str]]:
    return {service.name: [edge.service for edge in service.depends_on] for service in spec.services}


@proves("IMP-019")
def test_databases_of_compose_and_the_dev_server_come_together(tmp_path: Path) -> None:
    _, spec = proposed(tmp_path, {"docker-compose.yml": INFRA, "package.json": VITE})

    assert edges(spec) == {"db": [], "web": ["db"]}
    assert [task.command for task in spec.workspace.setup] == ["npm install"]
    assert [edge.service for edge in spec.assistant.depends_on] == ["web"]


@proves("IMP-019")
def test_databases_of_compose_and_a_procfile_come_together(tmp_path: Path) -> None:
    files = {
        "compose.yaml": INFRA,
        "Procfile": "web: serve\nrelease: migrate\ndb: postgres\n",
        "package.json": VITE,
    }
    proposal, spec = proposed(tmp_path, files)

    assert edges(spec) == {"db": [], "web": ["release", "db"], "release": ["db"]}
    assert "db of procfile, which is not used: there is a container of that name" in proposal.findings


@proves("IMP-019")
def test_a_compose_file_that_runs_the_application_is_all(tmp_path: Path) -> None:
    files = {"compose.yaml": APP, "Procfile": "web: serve\n", "package.json": VITE, "Dockerfile": ""}
    proposal, spec = proposed(tmp_path, files)

    assert edges(spec) == {"web": ["db"], "db": []}
    assert spec.workspace.setup == ()
    assert any(finding.startswith("Procfile, which is not used") for finding in proposal.findings)
    assert [edge.service for edge in spec.assistant.depends_on] == ["web"]


@proves("IMP-019")
def test_the_override_that_compose_lays_on_top_is_used(tmp_path: Path) -> None:
    files = {"compose.yaml": APP, "compose.override.yaml": "services: {web: {environment: {DEV: '1'}}}\n"}
    _, spec = proposed(tmp_path, files)

    assert spec.services[0].env == {"DEV": "1"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("process-compose.yaml", "processes: {web: {command: serve}, job: {command: work}}\n"),
        ("Procfile.dev", "web: serve\njob: work\n"),
        ("Procfile", "web: serve\njob: work\n"),
    ],
)
def test_processes_come_before_guesses(tmp_path: Path, name: str, text: str) -> None:
    _, spec = proposed(tmp_path, {name: text, "package.json": VITE})

    assert [service.name for service in spec.services] == ["web", "job"]


def test_a_dev_container_is_used_when_nothing_else_says_what_runs(tmp_path: Path) -> None:
    dev = json.dumps({"image": "x", "postStartCommand": "npm start", "initializeCommand": ["make", "it so"]})
    _, spec = proposed(tmp_path, {".devcontainer/devcontainer.json": dev})

    assert [service.name for service in spec.services] == ["dev"]
    assert [task.inside for task in spec.hooks.on_start] == ["dev"]
    assert [task.command for task in spec.workspace.setup] == ["make 'it so'"]


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("index.html", "<h1>Docs</h1>", "http.server"),
        ("app.py", "from flask import Flask\nweb = Flask(__name__)\n", "flask --app app:web run"),
    ],
)
def test_a_guess_stands_as_a_comment_beside_a_dev_container(
    tmp_path: Path, name: str, text: str, command: str
) -> None:
    files = {".devcontainer.json": '{"image": "x"}', "requirements.txt": "flask\n", name: text}
    proposal, spec = proposed(tmp_path, files)

    assert [service.name for service in spec.services] == ["dev"]
    assert spec.workspace.setup == ()
    assert any(line.startswith("#     command: ") and command in line for line in proposal.text.splitlines())
    assert any(finding.endswith("left as a comment)") for finding in proposal.findings)


def test_beside_a_dev_server_a_dev_container_is_only_named(tmp_path: Path) -> None:
    files = {".devcontainer.json": '{"image": "x"}', "package.json": VITE}
    proposal, spec = proposed(tmp_path, files)

    assert [service.name for service in spec.services] == ["web"]
    assert any(finding.startswith(".devcontainer.json, which is not used") for finding in proposal.findings)


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_used(tmp_path: Path) -> None:
    proposal, spec = proposed(tmp_path, {"compose.yaml": "services: [x]\n", "package.json": VITE})

    assert [service.name for service in spec.services] == ["web"]
    assert any(
        f.startswith("compose.yaml, which cannot be used: compose.yaml:1:11: ") for f in proposal.findings
    )
