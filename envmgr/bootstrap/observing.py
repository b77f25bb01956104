"""Seeing what agents write: made from the settings, and begun."""

from __future__ import annotations

from pathlib import Path

from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.config.settings import Settings
from envmgr.drivers.trees import FolderWatcher
from envmgr.runtime.observing.observer import Observer
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.changes import ChangeRules, Changes
from envmgr.services.ground import Ground
from envmgr.services.lock_book import LockBook

_KERNEL = Path("/proc/sys/fs/inotify/max_user_watches")


def changes(ground: Ground, locks: LockBook, settings: Settings) -> Changes:
    """The service; it hears nothing yet."""
    keep_s = settings.changes.keep_hours * 3600
    return Changes(ground, locks, ChangeRules(keep_s=keep_s, most=settings.changes.keep_files))


def start(found: Changes, supervisor: Supervisor, settings: Settings, group: TaskGroup) -> None:
    """Watch from now on; agents that run have been adopted, and what they wrote before is no news."""
    if not settings.changes.observe:
        return
    watcher = FolderWatcher(
        polls=settings.watch.polling, most_in_all=min(settings.changes.most_folders, _half_of_the_kernels())
    )
    observer = Observer(
        supervisor, watcher, found, quiet_s=settings.changes.quiet_s, since=supervisor.systems.now()
    )
    tasks.keep(group, "observing changes", observer.run)
    tasks.keep(group, "forgetting changes", observer.forget_old)


def _half_of_the_kernels() -> int:
    """Editors want to watch files, too."""
    try:
        return int(_KERNEL.read_text(encoding="ascii")) // 2
    except (OSError, ValueError):
        return 4096
