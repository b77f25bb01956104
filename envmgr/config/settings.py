"""Settings of a host: built-in defaults, then /etc, the user's file, the repository's, then ENVMGR_SECTION__KEY.

Nothing below `bootstrap` knows this module; it maps settings to plain values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from envmgr.config.changes import Changes
from envmgr.config.checking import as_table, check
from envmgr.config.doors import Http
from envmgr.config.fields import fields_of
from envmgr.config.files import read
from envmgr.config.locks import Locks
from envmgr.config.merging import merge
from envmgr.config.nodes import Items, Table, find, leaves, text_leaf
from envmgr.config.problems import BadFile, Mark, Problem, did_you_mean, dotted, raise_errors
from envmgr.config.sections import (
    Archive,
    Audit,
    Docker,
    Git,
    Health,
    Host,
    Limits,
    Log,
    Maintenance,
    Memory,
    Ports,
    Prevention,
    Queue,
    Reaper,
    Recovery,
    Sessions,
    Tmux,
    Watch,
)

PREFIX = "ENVMGR_"
SYSTEM = Path("/etc/envmgr/config.toml")
REPOSITORY = ".envmgr.toml"
DEFAULT = "default"
# A repository is not always its reader's own: it may not name places of the host, nor weaken its limits.
_REPOSITORY_KEYS = {("ports", "block"), ("locks", "rules")}


class Settings(BaseSettings):
    """All sections. Made by `load`, which says where values come from."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )
    later: ClassVar[frozenset[str]] = frozenset()

    host: Host = Host()
    """The machine and what agents may take of it."""
    ports: Ports = Ports()
    """Where port numbers come from."""
    git: Git = Git()
    """Worktrees."""
    tmux: Tmux = Tmux()
    """The terminal server."""
    docker: Docker = Docker()
    """The container engine."""
    limits: Limits = Limits()
    """How limits of process services are enforced."""
    prevention: Prevention = Prevention()
    """What is measured, kept and foreseen."""
    health: Health = Health()
    """How services are looked at."""
    recovery: Recovery = Recovery()
    """What is done by itself when something failed."""
    archive: Archive = Archive()
    """What is kept of sessions that have ended."""
    watch: Watch = Watch()
    """Files that are watched."""
    reaper: Reaper = Reaper()
    """Things that nobody owns any more."""
    maintenance: Maintenance = Maintenance()
    """How long things are kept."""
    http: Http = Http()
    """HTTP on TCP, beside the daemon's Unix socket."""
    locks: Locks = Locks()
    """Files and keys that agents hold."""
    changes: Changes = Changes()
    """What agents write, as it is seen."""
    audit: Audit = Audit()
    """The record of who asked for what."""
    sessions: Sessions = Sessions()
    """Who works beside whom."""
    queue: Queue = Queue()
    """Tasks that agents take from each other and from people."""
    memory: Memory = Memory()
    """What agents remember for each other."""
    log: Log = Log()
    """What envmgr writes about itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of `envmgr config show --origin`. `origin` is `file:line`, a variable, or `default`."""

    path: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings, and where each comes from."""

    settings: Settings
    origins: Sequence[Setting]


def config_dir(environment: Mapping[str, str]) -> Path:
    """The user's configuration folder (XDG base directories)."""
    base = Path(environment.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # relative ones are to be ignored (XDG Base Directory Specification)
        base = Path(environment.get("HOME") or Path.home()) / ".config"
    return base / "envmgr"


def load(
    environment: Mapping[str, str] | None = None, *, repo: Path | None = None, system: Path = SYSTEM
) -> Loaded:
    """Read all sources; files that do not exist say nothing. Blocks, shortly.

    Raises:
        ConfigError: Unknown or wrong values, with file and line or the variable's name.
    """
    environment = os.environ if environment is None else environment
    user = config_dir(environment) / "config.toml"
    tree = Table(Mark("settings"), {}, {})
    problems: list[Problem] = []
    repository = repo / REPOSITORY if repo else None
    for path, shown in ((system, str(system)), (user, _shown(user, environment)), (repository, REPOSITORY)):
        if path is not None and path.is_file():
            read_in = as_table(read(path, shown))
            problems += _not_for_repositories(read_in) if shown == REPOSITORY else []
            tree = as_table(merge(tree, read_in))
    tree = as_table(merge(tree, _from_environment(environment)))
    settings, wrong = check(tree, Settings)
    raise_errors([*problems, *wrong])
    assert settings is not None, "without errors there are settings"
    return Loaded(settings=settings, origins=_origins(settings, tree))


def _shown(path: Path, environment: Mapping[str, str]) -> str:
    """Never an absolute home path (architecture 12)."""
    home = Path(environment.get("HOME") or Path.home())
    return str(Path("~") / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def _not_for_repositories(tree: Table) -> list[Problem]:
    allowed = ", ".join(dotted(path) for path in sorted(_REPOSITORY_KEYS))
    return [
        Problem(
            mark=leaf.mark,
            path=dotted(path),
            message=f"{dotted(path)} cannot be set by a repository",
            hint=f"A repository may set {allowed}; put the rest into your own config.toml.",
        )
        for path, leaf in leaves(tree)
        if path[:2] not in _REPOSITORY_KEYS
    ]


def _from_environment(environment: Mapping[str, str]) -> Table:
    """ENVMGR_PORTS__BLOCK=40 as a tree whose marks are the variables' names."""
    for name in environment:
        section, separator, _ = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and separator and section.lower() not in Settings.model_fields:
            hint = did_you_mean(section, [known.upper() for known in Settings.model_fields], among="Sections")
            raise BadFile(
                [Problem(mark=Mark(name), message=f"no section {section!r} of settings", hint=hint)]
            )
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environment.items() if "__" in name}
    try:
        said = source()
    except SettingsError as error:
        raise BadFile([Problem(mark=Mark(PREFIX.rstrip("_")), message=str(error))]) from error
    return _table(said, PREFIX)


def _table(said: Mapping[str, object], prefix: str) -> Table:
    marks = {key: Mark(f"{prefix}{key.upper()}") for key in said}
    items = {
        key: _table(value, f"{prefix}{key.upper()}__")
        if isinstance(value, Mapping)
        else Items(marks[key], tuple(text_leaf(marks[key], str(item)) for item in value))
        if isinstance(value, list)
        else text_leaf(marks[key], str(value))
        for key, value in said.items()
    }
    return Table(Mark(prefix.rstrip("_")), items, marks)


def _origins(settings: Settings, tree: Table) -> list[Setting]:
    found = []
    for section in fields_of(Settings):
        values = getattr(settings, section)
        for key in fields_of(type(values)):
            node = find(tree, (section, key))
            origin = (
                DEFAULT if node is None else node.mark.file + (f":{node.mark.line}" if node.mark.line else "")
            )
            found.append(Setting(path=f"{section}.{key}", value=str(getattr(values, key)), origin=origin))
    return found
