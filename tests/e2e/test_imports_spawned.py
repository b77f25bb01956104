"""Shapes of real projects, imported and then really spawned: what their files promise is there for the agent."""

from __future__ import annotations

import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pg8000.native
import pytest
import redis

from envmgr.model.ids import LABEL_STATE, container_name
from tests.support.docker import BASE, POSTGRES, REDIS, WEB, engine, nothing_in_engine
from tests.support.host import Host, host, new_repo
from tests.support.imports import ALL_SHAPES, SHAPES, Shape
from tests.support.requirements import proves
from tests.support.wait import eventually

PAGE = "hello from a container"
IMAGES = {"WEB_IMAGE": WEB, "DB_IMAGE": POSTGRES, "CACHE_IMAGE": REDIS, "BASE_IMAGE": BASE}


@dataclass(frozen=True)
class Spawned:
    """An agent of an imported template."""

    host: Host
    name: str

    @property
    def agent(self) -> Any:  # JSON
        return self.host.agent(self.name)

    def file(self, name: str) -> str:
        return (Path(self.agent["worktree"]) / name).read_text(encoding="utf-8")

    def env(self, name: str) -> str:
        return str(self.host.ok("env", self.name, "--json").json["env"][name])

    def get(self, variable: str, path: str = "") -> str:
        """A page at an exported address."""
        with urllib.request.urlopen(f"{self.env(variable)}/{path}", timeout=10) as answer:
            return str(answer.read().decode()).strip()

    def inside(self, service: str, *argv: str) -> str:
        """What a command in a service's container prints."""
        name = container_name(self.agent["id"], self.agent["generation"], service)
        code, output = engine().containers.get(name).exec_run(list(argv))
        assert code == 0, output
        return str(output.decode()).strip()

    def reaches(self, service: str, url: str) -> str:
        """A page as a container sees it."""
        return self.inside(service, "busybox", "wget", "-q", "-O", "-", url)

    def sql(self, text: str) -> list[Any]:
        """A query at the exported DATABASE_URL."""
        at = urlsplit(self.env("DATABASE_URL"))
        with pg8000.native.Connection(
            at.username or "",
            host=at.hostname or "",
            port=at.port or 0,
            password=at.password,
            database=at.path[1:],
        ) as connection:
            return list(connection.run(text))

    def log(self, service: str) -> str:
        return self.host.ok("logs", self.name, service).out


def web_db_cache(one: Spawned) -> None:
    assert one.get("WEB_URL") == "corner shop"
    assert one.sql("select current_database(), current_user") == [["shop", "shop"]]
    assert redis.from_url(one.env("REDIS_URL")).ping()
    assert one.inside("web", "printenv", "GREETING") == "costs 5$"
    assert one.inside("web", "printenv", "DATABASE_URL") == "postgresql://shop:shop-dev@db:5432/shop"


def override_profiles(one: Spawned) -> None:
    assert PAGE in one.get("API_URL")
    assert one.inside("api", "printenv", "STAGE") == "development"
    assert "FLAGS" not in one.inside("api", "env")
    assert PAGE in one.get("CONSOLE_URL")


def build_health(one: Spawned) -> None:
    port = next(service["ports"]["pages"] for service in one.agent["services"])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/edition", timeout=10) as answer:
        assert answer.read().strip() == b"2026"
    assert one.reaches("app", "http://127.0.0.1:7000/live/") == "live"


def ports_names(one: Spawned) -> None:
    assert PAGE in one.get("MY_GATEWAY_URL")
    for name in ("my_app", "app_main", "app.internal", "my-app"):
        assert PAGE in one.reaches("my-gateway", f"http://{name}:8080/")
    assert PAGE in one.reaches("my_app", "http://gateway_main/")


def include_extends(one: Spawned) -> None:
    assert PAGE in one.get("FRONT_URL")
    assert one.inside("back", "printenv", "KIND", "FROM_BASE", "NAME", "REGION").split() == [
        "page",
        "yes",
        "back",
        "eu",
    ]
    assert one.inside("back", "cat", "/shared/readme.txt") == "shared"
    assert one.inside("store", "redis-cli", "config", "get", "appendonly").split()[-1] == "yes"
    assert PAGE in one.reaches("front", "http://mail:8026/")


def worker_queue(one: Spawned) -> None:
    queue = redis.from_url(one.env("REDIS_URL"))
    assert queue.get("schema") == b"7"
    eventually(lambda: queue.get("started") == b"2", within_s=10)


def files_networks(one: Spawned) -> None:
    assert one.inside(
        "vault", "cat", "/run/secrets/token", "/etc/motd", "/run/secrets/server.pem"
    ).split() == [
        "token.txt",
        "motd",
        "server.pem",
    ]
    assert one.inside("vault", "id", "-u") == "1000"
    assert one.inside("vault", "printenv", "MODE") == "quiet"
    assert one.reaches("reader", "http://vault:8080/token") == "token.txt"
    for path in ("/aws", "/outside", "/var/run/docker.sock"):
        assert one.inside("vault", "sh", "-c", f"test -e {path} || echo absent") == "absent"


def devcontainer_image(one: Spawned) -> None:
    folder = f"/workspaces/{Path(one.agent['repo']).name}"
    assert one.file(".initialized") == "ready\n"
    assert one.file("created.txt").split() == ["created", "one", "two"]
    assert one.file("started.txt") == f"dev in {folder}\n"
    assert one.inside("dev", "cat", "/notes/note.txt") == "note"
    assert one.inside("dev", "printenv", "EXTRA") == "none"


def devcontainer_build(one: Spawned) -> None:
    assert one.file("word.txt") == "blue\n"


def devcontainer_compose(one: Spawned) -> None:
    assert one.file("ready.txt") == "0\n"
    assert one.sql("select current_user") == [["dev"]]


def procfile_release(one: Spawned) -> None:
    assert "migrated.txt" in one.get("WEB_URL")
    eventually(lambda: "works on default" in one.log("worker"), within_s=10)


def procfile_dotenv(one: Spawned) -> None:
    assert one.get("WEB_URL") == "pages"
    assert "Procfile" in one.get("API_URL")
    eventually(lambda: "every 10 minutes" in one.log("clock"), within_s=10)


def process_compose(one: Spawned) -> None:
    assert one.get("SERVER_URL") == "site"
    assert one.file("prepared.txt") == "hello\n"
    assert "watching on 1" in one.log("watcher")


def monorepo(one: Spawned) -> None:
    assert one.sql("select word from words") == [["mono"]]
    assert redis.from_url(one.env("REDIS_URL")).ping()


CHECKS: dict[str, Callable[[Spawned], None]] = {
    "web-db-cache": web_db_cache,
    "override-profiles": override_profiles,
    "build-health": build_health,
    "ports-names": ports_names,
    "include-extends": include_extends,
    "worker-queue": worker_queue,
    "files-networks": files_networks,
    "devcontainer-image": devcontainer_image,
    "devcontainer-build": devcontainer_build,
    "devcontainer-compose": devcontainer_compose,
    "procfile-release": procfile_release,
    "procfile-dotenv": procfile_dotenv,
    "process-compose": process_compose,
    "monorepo": monorepo,
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host(**IMAGES) as here, nothing_in_engine({LABEL_STATE: str(here.state)}):
        here.ok("daemon", "start")
        yield here


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="ei-"))
    yield place
    shutil.rmtree(place)


def repository(folder: Path, wanted: Shape) -> Path:
    files = {
        str(path.relative_to(SHAPES / wanted.name)): path.read_text(encoding="utf-8")
        for path in (SHAPES / wanted.name).rglob("*")
        if path.is_file()
    }
    return new_repo(folder / wanted.name, files)


@contextmanager
def spawned(shared: Host, template: str, name: str, repo: Path) -> Iterator[Spawned]:
    """An agent, removed at the end whatever happened."""
    try:
        shared.ok("spawn", "-t", template, "--name", name, cwd=repo)
        yield Spawned(shared, name)
    finally:
        if name in shared.agents():
            shared.ok("rm", name, "--stop", "--yes", "--discard", name)


@pytest.mark.parametrize("wanted", ALL_SHAPES, ids=lambda wanted: wanted.name)
@proves("IMP-001")
def test_an_imported_shape_comes_up_for_an_agent(shared: Host, folder: Path, wanted: Shape) -> None:
    repo = repository(folder, wanted)
    profiles = [word for profile in wanted.profiles for word in ("--profile", profile)]

    shared.ok("template", "import", *wanted.files, *profiles, "--name", "imported", cwd=repo)
    with spawned(shared, "imported", wanted.name, repo) as one:
        assert {service["state"] for service in one.agent["services"]} <= {"ready", "done"}
        CHECKS[wanted.name](one)


@proves("IMP-003")
def test_a_template_that_imports_in_place_comes_up(shared: Host, folder: Path) -> None:
    wanted = next(each for each in ALL_SHAPES if each.name == "web-db-cache")
    repo = repository(folder, wanted)
    template = repo / ".envmgr" / "templates" / "here.yaml"
    template.parent.mkdir(parents=True)
    template.write_text(
        "envmgr: 1\nimport: compose.yaml\nagent: {kind: command, command: [sleep, '1000'], depends_on: [web]}\n",
        encoding="utf-8",
    )

    with spawned(shared, "here", "in-place", repo) as one:
        web_db_cache(one)
