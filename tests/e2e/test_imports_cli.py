"""`envmgr template import` and `envmgr init` as people type them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.model.ids import LABEL_STATE
from tests.support.docker import POSTGRES, nothing_in_engine
from tests.support.host import Host, host, new_repo
from tests.support.requirements import proves

_LOSSY = """\
services:
  a:
    image: x
    ports: ["80:80"]
    logging: {driver: none}
    privileged: true
"""
_SERVER = "import http.server, os; http.server.test(port=int(os.environ['PORT']), bind='127.0.0.1')\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="ei-"))
    yield place
    shutil.rmtree(place)


def tool(folder: Path) -> Host:
    """The command line alone; these commands need no daemon."""
    return Host(state=folder / "s", repo=folder / "repo")


@proves("IMP-018")
def test_check_reports_each_line_writes_nothing_and_fails_when_something_is_lost(folder: Path) -> None:
    repo = new_repo(folder / "repo", {"compose.yaml": _LOSSY, "fine.yaml": "services: {a: {image: x}}\n"})

    lossy = tool(folder).run("template", "import", "compose.yaml", "--check", cwd=repo)
    fine = tool(folder).run("template", "import", "fine.yaml", "--check", cwd=repo)

    assert lossy.code == 1
    assert [line.split(": ")[:3] for line in lossy.out.splitlines()[:3]] == [
        ["compose.yaml:4", "changed", "services.a.ports"],
        ["compose.yaml:5", "dropped", "services.a.logging"],
        ["compose.yaml:6", "unsupported", "services.a.privileged"],
    ]
    assert lossy.out.endswith("1 changed, 1 dropped, 1 unsupported\n")
    assert (fine.code, fine.out) == (0, "nothing is lost or changed\n")
    assert not (repo / ".envmgr").exists()


@proves("IMP-018")
def test_a_template_is_written_kept_and_replaced_only_by_force(folder: Path) -> None:
    repo = new_repo(folder / "repo", {"compose.yaml": f"name: Big Shop\n{_LOSSY}", "sub/x": ""})
    here = tool(folder)

    first = here.ok("template", "import", "../compose.yaml", cwd=repo / "sub")
    again = here.run("template", "import", "compose.yaml", cwd=repo)
    forced = here.ok("template", "import", "compose.yaml", "--force", "--json", cwd=repo).json

    written = repo / ".envmgr" / "templates" / "big-shop.yaml"
    assert first.out.endswith("next: envmgr spawn --template big-shop\n")
    assert again.code == 5
    assert "big-shop.yaml exists" in again.err
    assert (forced["written"], forced["name"], forced["ok"]) == (True, "big-shop", True)
    assert forced["text"] == written.read_text(encoding="utf-8")
    assert [finding["severity"] for finding in forced["findings"]] == ["changed", "dropped", "unsupported"]
    assert here.ok("template", "validate", "big-shop", cwd=repo).out == "valid\n"


@proves("IMP-018")
def test_it_can_be_printed_or_written_elsewhere(folder: Path) -> None:
    repo = new_repo(folder / "repo", {"Procfile": "web: serve\nwork: run\n"})
    here = tool(folder)

    printed = here.ok("template", "import", "Procfile", "--name", "mine", "--output", "-", cwd=repo).out
    here.ok("template", "import", "Procfile", "--service", "work", "-o", "out/t.yaml", cwd=repo)

    assert "name: mine\n" in printed
    assert not (repo / ".envmgr").exists()
    assert "web:" not in (repo / "out" / "t.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("gone.yaml",), 4, "no file gone.yaml"),
        (("compose.yaml", "--format", "helm"), 2, "unknown format 'helm'"),
        (("compose.yaml", "--name", "Not A Name"), 2, "is not a template's name"),
        (("compose.yaml", "--check", "-o", "-"), 2, "--check writes nothing"),
        (("compose.yaml", "--service", "b"), 3, "there is no service 'b'"),
        (("README.md",), 2, "its format cannot be told"),
        (("broken.yaml",), 3, "broken.yaml:1:16"),
    ],
)
@proves("IMP-018")
def test_what_is_wrong_is_told_with_its_own_status(
    folder: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    files = {"compose.yaml": _LOSSY, "README.md": "x\n", "broken.yaml": "services: {a: [}\n"}
    repo = new_repo(folder / "repo", files)

    ran = tool(folder).run("template", "import", *args, cwd=repo)

    assert ran.code == code, ran.err
    assert message in ran.err
    assert not (repo / ".envmgr").exists()


@proves("IMP-019")
def test_init_brings_up_the_databases_and_the_servers_of_a_repository(folder: Path) -> None:
    compose = f"services:\n  db: {{image: {POSTGRES}, environment: {{POSTGRES_PASSWORD: dev}}}}\n"
    files = {"docker-compose.yml": compose, "Procfile": "web: python3 serve.py\n", "serve.py": _SERVER}
    repo = new_repo(folder / "repo", files)

    with host() as here, nothing_in_engine({LABEL_STATE: str(here.state)}):
        here.ok("init", cwd=repo)
        here.ok("spawn", "-t", "default", "--name", "a", cwd=repo)

        assert {s["name"]: s["state"] for s in here.agent("a")["services"]} == {"db": "ready", "web": "ready"}
        env = here.ok("env", "a", "--json").json["env"]
        assert env["DATABASE_URL"].startswith("postgres://postgres:dev@127.0.0.1:")
        assert env["WEB_URL"].startswith("http://127.0.0.1:")
        here.ok("rm", "a", "--stop", "--yes", "--discard", "a")
