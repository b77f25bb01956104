"""`init` looks at a repository and writes a template that validates and spawns."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.host import Host, host, new_repo
from tests.support.requirements import proves

_SERVER = "import http.server, os; http.server.test(port=int(os.environ['PORT']), bind='127.0.0.1')\n"
_SHAPES: dict[str, Mapping[str, str]] = {
    "static": {"index.html": "<h1>hello</h1>\n"},
    "procfile": {"Procfile": "web: python3 serve.py\n", "serve.py": _SERVER},
    "makefile": {"Makefile": "serve:\n\tpython3 serve.py\n\ntest:\n\ttrue\n", "serve.py": _SERVER},
    "node": {
        "package.json": '{"name": "x", "scripts": {"dev": "node server.js"}}\n',
        "server.js": "require('http').createServer((q, r) => r.end('ok')).listen(process.env.PORT, '127.0.0.1')\n",
    },
    "empty": {"README.md": "nothing yet\n"},
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="ei-"))
    yield place
    shutil.rmtree(place)


@proves("CLI-080")
@pytest.mark.parametrize("shape", ["static", "procfile", "makefile", "empty"])
def test_the_written_template_validates_and_spawns(shared: Host, folder: Path, shape: str) -> None:
    repo = new_repo(folder / shape, _SHAPES[shape])

    said = shared.ok("init", cwd=repo).out
    path = next(line.removeprefix("wrote ") for line in said.splitlines() if line.startswith("wrote "))
    name = Path(path).stem
    checked = shared.ok("template", "validate", name, cwd=repo).out
    agent = shared.ok("spawn", "-t", name, "--name", shape, "--json", cwd=repo).lines[-1]["agent"]

    assert f"next: envmgr spawn --template {name}" in said
    assert checked.endswith("valid\n")
    assert agent["lifecycle"] == "running"
    if shape in ("static", "procfile"):
        assert [service["state"] for service in agent["services"]] == ["ready"]
    assert (repo / path).read_text().startswith("#")
    shared.ok("stop", shape)


@proves("CLI-080")
def test_a_node_project_is_recognised(shared: Host, folder: Path) -> None:
    repo = new_repo(folder / "node", _SHAPES["node"])

    shown = shared.ok("init", "--print", cwd=repo).out

    assert "npm run dev" in shown
    assert not (repo / ".envmgr").exists()


@proves("CLI-081")
def test_an_existing_template_is_overwritten_only_when_told(shared: Host, folder: Path) -> None:
    repo = new_repo(folder / "repo", _SHAPES["static"])
    first = shared.ok("init", "--json", cwd=repo).json
    path = repo / first["path"]
    path.write_text("mine\n")

    refused = shared.run("init", cwd=repo)
    kept = path.read_text()
    shared.ok("init", "--force", cwd=repo)

    assert refused.code == 5
    assert "exists" in refused.err
    assert "--force" in refused.err
    assert kept == "mine\n"
    assert path.read_text() == first["text"]


@proves("CLI-082")
def test_init_outside_of_a_repository_says_what_to_do(shared: Host, folder: Path) -> None:
    ran = shared.run("init", cwd=folder)

    assert ran.code == 3
    assert "this is not a git repository" in ran.err
    assert not (folder / ".envmgr").exists()
