"""What operations work with that need no daemon."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from envmgr.app.context import App
from envmgr.app.paths import state_dir
from envmgr.config import settings as configuration
from envmgr.config.settings import Settings
from envmgr.config.source import TemplateFiles
from envmgr.drivers import scopes
from envmgr.drivers.docker import DockerEngine
from envmgr.model.ids import InstanceId


def package_version() -> str:
    """The installed version; `0+source` when run from files alone."""
    try:
        return version("envmgr")
    except PackageNotFoundError:
        return "0+source"


def local(*, settings: Settings | None = None) -> App:
    """What operations that need no daemon work with."""
    settings = settings or configuration.load().settings
    folder = Path(state_dir())
    return App(
        state_dir=folder,
        worktree_root=(settings.git.worktree_root or folder / "worktrees").expanduser().absolute(),
        version=package_version(),
        templates=TemplateFiles(settings),
        engine=engine(settings, InstanceId("")),
        find_scopes=scopes.detect,
    )


def engine(settings: Settings, instance: InstanceId) -> DockerEngine:
    """The container engine that the settings name; nothing is asked of it yet."""
    return DockerEngine(instance=instance, host=settings.docker.host, deadline_s=settings.docker.deadline_s)
