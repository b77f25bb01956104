from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.config.init.writing import propose, write
from envmgr.errors import Conflict, NotFound
from envmgr.model.spec import AgentSpec
from tests.support.requirements import proves
from tests.support.templates import Desk


def spawnable(repo: Path, files: dict[str, str]) -> AgentSpec:
    """The spec that the proposed template for these files resolves to, free of warnings."""
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text, encoding="utf-8")
    write(propose(repo))
    desk = Desk(repo)
    template = desk.templates.load("default", repo)
    assert template.warnings == ()
    return desk.templates.resolve(template, repo=repo, name="a", slug="a", params={}, environment={})


def package(**scripts: str) -> str:
    return json.dumps({"scripts": scripts})


PORT = "${ports.http}"
REPOSITORIES = {
    "vite": (
        {"package.json": package(dev="vite"), "package-lock.json": ""},
        f"npm run dev -- --host 127.0.0.1 --port {PORT} --strictPort",
        "npm ci",
    ),
    "next": (
        {"package.json": package(dev="next dev"), "pnpm-lock.yaml": ""},
        f"pnpm run dev -H 127.0.0.1 -p {PORT}",
        "pnpm install --frozen-lockfile",
    ),
    "node": ({"package.json": package(start="node server.js")}, "npm run start", "npm install"),
    "django": (
        {"manage.py": "", "pyproject.toml": "", "uv.lock": ""},
        f"uv run python manage.py runserver 127.0.0.1:{PORT}",
        "uv sync",
    ),
    "fastapi": (
        {"requirements.txt": "fastapi", "app/main.py": "api: FastAPI = FastAPI()"},
        f".venv/bin/uvicorn app.main:api --host 127.0.0.1 --port {PORT} --reload",
        "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
    ),
    "flask": (
        {"pyproject.toml": "flask", "app.py": "app = Flask(__name__)", "poetry.lock": ""},
        f"poetry run flask --app app:app run --port {PORT}",
        "poetry install",
    ),
    "static": (
        {"public/index.html": ""},
        f"exec python3 -m http.server {PORT} --bind 127.0.0.1 --directory public",
        None,
    ),
}


@pytest.mark.parametrize("kind", REPOSITORIES)
@proves("TMPL-015")
def test_a_known_kind_of_repository_gets_a_template_that_is_valid(tmp_path: Path, kind: str) -> None:
    files, command, setup = REPOSITORIES[kind]

    spec = spawnable(tmp_path, files)

    assert [service.command for service in spec.services] == [command]
    assert [task.command for task in spec.workspace.setup] == ([setup] if setup else [])
    assert spec.services[0].ready is not None


def test_a_procfile_is_taken_line_by_line(tmp_path: Path) -> None:
    spec = spawnable(
        tmp_path,
        {"Procfile": "web: serve --port $PORT\nMy_Worker: work 'it: x'\nrelease: ./migrate # it's\n"},
    )

    assert [(s.name, s.kind, s.command, len(s.ports)) for s in spec.services] == [
        ("web", "process", "serve --port $PORT", 1),
        ("my_worker", "process", "work 'it: x'", 0),
        ("release", "task", "./migrate # it's", 0),
    ]
    assert [edge.service for edge in spec.services[0].depends_on] == ["release"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"go.mod": "", "cmd/srv/main.go": ""},
        {"Makefile": "run: all\n"},
        {"package.json": "{"},
        {"package.json": "[]"},
    ],
)
def test_what_may_not_keep_running_is_only_a_comment(tmp_path: Path, files: dict[str, str]) -> None:
    spec = spawnable(tmp_path, files)

    assert spec.services == ()
    assert "# services:\n#   web:" in propose(tmp_path).text


def test_the_commented_service_is_valid_once_it_is_not_a_comment(tmp_path: Path) -> None:
    proposal = propose(tmp_path)
    head, _, rest = proposal.text.partition("# services:\n")
    lines = [line.removeprefix("# ") for line in rest.splitlines()]
    write(replace(proposal, text=f"{head}services:\n" + "\n".join(lines)))

    assert list(Desk(tmp_path).templates.check("default", tmp_path)) == []
    assert "  web:" in lines[0]


def test_files_a_worktree_lacks_are_copied(tmp_path: Path) -> None:
    assert spawnable(tmp_path, {".env": "A=1", ".env.local": ""}).workspace.copy == (".env", ".env.local")


def test_an_odd_folder_name_does_no_harm(tmp_path: Path) -> None:
    repo = tmp_path / "it's: a #repo {x}"
    repo.mkdir()

    assert spawnable(repo, {}).template == "default"


@proves("TMPL-016")
def test_an_existing_template_is_kept_unless_forced(tmp_path: Path) -> None:
    proposal = propose(tmp_path)
    write(proposal)
    proposal.path.write_text("mine", encoding="utf-8")

    with pytest.raises(Conflict, match=r"\.envmgr/templates/default\.yaml exists"):
        write(proposal)
    assert proposal.path.read_text(encoding="utf-8") == "mine"

    write(proposal, force=True)
    assert proposal.path.read_text(encoding="utf-8") == proposal.text


def test_no_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        propose(tmp_path / "gone")


def test_missing_tools_and_containers_are_remarked(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web: no-such-tool-anywhere\n", encoding="utf-8")
    (tmp_path / "compose.yaml").write_text("", encoding="utf-8")

    findings = propose(tmp_path).findings

    assert "no no-such-tool-anywhere on your PATH; install it before you spawn" in findings
    assert any(finding.startswith("compose.yaml, which cannot be used: ") for finding in findings)
