"""Files of other formats in a folder, what becomes of them, and the shapes from the real world that are kept as fixtures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmgr.config.importers import importing, proposing
from envmgr.config.importers.importing import Imported
from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AgentSpec
from tests.support.templates import Desk

SHAPES = Path(__file__).parents[1] / "fixtures" / "imports"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A fixture: what is named on the command line, and what must come of it."""

    name: str
    files: tuple[str, ...]
    services: tuple[str, ...]
    profiles: tuple[str, ...] = ()


ALL_SHAPES = (
    Shape(name="web-db-cache", files=("compose.yaml",), services=("web", "db", "cache")),
    Shape(
        name="override-profiles",
        files=("compose.yaml", "compose.override.yaml"),
        services=("api", "console", "metrics"),
        profiles=("tools",),
    ),
    Shape(name="build-health", files=("compose.yaml",), services=("app",)),
    Shape(name="ports-names", files=("compose.yaml",), services=("my-gateway", "my_app", "my-app-2")),
    Shape(name="include-extends", files=("compose.yaml",), services=("store", "mail", "front", "back")),
    Shape(name="worker-queue", files=("compose.yaml",), services=("queue", "schema", "worker", "clock")),
    Shape(name="files-networks", files=("compose.yaml",), services=("vault", "reader")),
    Shape(name="devcontainer-image", files=(".devcontainer/devcontainer.json",), services=("dev",)),
    Shape(name="devcontainer-build", files=(".devcontainer/devcontainer.json",), services=("dev",)),
    Shape(name="devcontainer-compose", files=(".devcontainer/devcontainer.json",), services=("app", "db")),
    Shape(name="procfile-release", files=("Procfile",), services=("web", "worker", "release")),
    Shape(name="procfile-dotenv", files=("Procfile",), services=("web", "api", "clock")),
    Shape(
        name="process-compose",
        files=("process-compose.yaml",),
        services=("prepare", "server", "watcher", "reader"),
    ),
    Shape(name="monorepo", files=("docker-compose.yml",), services=("postgres", "redis")),
)


def bring(
    repo: Path,
    files: Mapping[str, str],
    *names: str,
    format: str = "",  # noqa: A002 - as the importers call it
    profiles: Sequence[str] = (),
    services: Sequence[str] = (),
) -> Imported:
    """Write the files and import those that are named, or the first one."""
    for name, text in files.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = [repo / name for name in names or list(files)[:1]]
    return importing.read(
        found,
        top=repo,
        show=lambda path: str(path.relative_to(repo)) if path.is_relative_to(repo) else str(path),
        format=format,
        profiles=profiles,
        services=services,
    )


def compose(repo: Path, text: str, **more: str) -> Imported:
    """Import a compose file; `more` are other files, `env` standing for `.env`."""
    names = {"env": ".env"}
    return bring(repo, {"compose.yaml": text, **{names.get(k, k): v for k, v in more.items()}})


def shape(repo: Path, wanted: Shape) -> Imported:
    """Import a fixture from a copy of it."""
    shutil.copytree(SHAPES / wanted.name, repo, dirs_exist_ok=True)
    return bring(repo, {}, *wanted.files, profiles=wanted.profiles)


def said(imported: Imported, severity: str = "") -> list[str]:
    """Findings as `line: key: what`, of one severity or all."""
    return [
        f"{finding.mark.line}: {finding.key}: {finding.says}"
        for finding in imported.findings
        if severity in ("", finding.severity)
    ]


def spec(
    repo: Path,
    imported: Imported,
    *,
    environment: Mapping[str, str] | None = None,
    profiles: Sequence[str] = (),
    params: Mapping[str, str] | None = None,
) -> AgentSpec:
    """What is spawned from the written template; it must be without errors."""
    text = proposing.template(imported, name="t", sources=["it"], agent=["  kind: command"])
    desk = Desk(repo)
    desk.write(text)
    template = desk.templates.load("t", repo)
    return desk.templates.resolve(
        template,
        repo=repo,
        name="a",
        slug="a",
        params=params or {},
        environment=environment or {},
        profiles=profiles,
    )


def service(found: AgentSpec, name: str) -> ServiceSpec:
    """One service of a spec."""
    return next(each for each in found.services if each.name == name)
