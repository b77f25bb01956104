"""Which strings of a template take references, and of which kind, by their path."""

from __future__ import annotations

from enum import Enum, auto

from envmgr.config.problems import Path


class Style(Enum):
    """How a value is treated."""

    VERBATIM = auto()
    """Taken as it is."""
    RAW = auto()
    """Taken as it is written: `0644` stays `0644`."""
    EARLY = auto()
    """Text, complete before the spawn: names, paths, numbers."""
    EARLY_TEXT = auto()
    """As EARLY, and always text: `true` stays `true`, `0644` stays `0644`."""
    TEXT = auto()
    """Text that may use ports and secrets; in late form afterwards."""
    SHELL = auto()
    """A line for the shell that may use ports and secrets; in late form afterwards."""
    EARLY_SHELL = auto()
    """A line for the shell that is complete before the spawn."""


def style(path: Path) -> Style:
    """The style of the value at this path."""
    match path:
        case ("services", _, *rest):
            return _in_service(tuple(rest))
        case ("params", _, "default") | ("params", _, "values", _):
            return Style.RAW
        case ("envmgr" | "name" | "description" | "extends" | "import" | "params", *_):
            return Style.VERBATIM
        case ("env", _) | ("agent", "env", _):
            return Style.TEXT
        case ("agent", "prompt") | ("agent", "args", _):
            return Style.TEXT
        case ("agent", "command", *rest) | ("volumes", _, "seed", "script", *rest):
            return Style.TEXT if rest else Style.SHELL
        case ("workspace", "setup", *rest) | ("hooks", _, *rest) | ("queue", "checks", *rest):
            return _in_tasks(tuple(rest))
        case ("secrets", _, "command"):
            return Style.EARLY_SHELL
        case ("defaults", "stop", "command", *_):
            return Style.VERBATIM
    return Style.EARLY


def _in_service(path: Path) -> Style:
    match path:
        case ("env" | "exports", _):
            return Style.TEXT
        case (
            ("command" | "entrypoint", *rest)
            | ("stop" | "on_env_change" | "watch", "command", *rest)
            | ("watch", int(), "command", *rest)
            | ("tenant", "create" | "drop", *rest)
        ):
            return Style.TEXT if rest else Style.SHELL
        case ("labels" | "sysctls" | "extra_hosts", _) | ("build", "args", _):
            return Style.EARLY_TEXT
        case ("startup" | "ready" | "live", *rest):
            return _in_check(tuple(rest))
        case ("description",):
            return Style.VERBATIM
    return Style.EARLY


def _in_check(path: Path) -> Style:
    match path:
        case ("any" | "all", int(), *rest):
            return _in_check(tuple(rest))
        case ("exec",):
            return Style.SHELL
        case (
            ("exec", _)
            | ("log",)
            | ("process",)
            | ("process", "match")
            | ("http",)
            | ("http", "path" | "host" | "body")
            | ("http", "headers", _)
        ):
            return Style.TEXT
        case ("tcp", "host"):
            return Style.TEXT
    return Style.EARLY


def _in_tasks(path: Path) -> Style:
    """A task is a line, a list of words, or a map with `command`; a single one needs no list around it."""
    match path:
        case () | (int(),) | ("command",) | (int(), "command"):
            return Style.SHELL
        case (int(), int()) | ("command", int()) | (int(), "command", int()):
            return Style.TEXT
    return Style.EARLY
