"""Keys of a process that nothing here corresponds to, and what is said of them."""

from __future__ import annotations

DROPPED = {
    "log_location": "logs are kept by envmgr, see `logs`",
    "log_configuration": "logs are kept by envmgr, see `logs`",
    "log_level": "logs are kept by envmgr",
    "log_length": "logs are kept by envmgr",
    "disable_ansi_colors": "output is kept as it is",
    "is_interactive": "nobody types into services; run it with `envmgr exec`",
    "is_strict": "templates are always read strictly",
    "ordered_shutdown": "services always end in reverse order",
    "launch_timeout_seconds": "see `ready: {deadline: ...}`",
    "version": "",
    "is_tui_disabled": "",
}
UNSUPPORTED = {
    "is_elevated": "services run as you",
    "schedule": "nothing runs by the clock",
    "watch": "add `watch` yourself",
    "env_cmds": "declare them under `secrets: {NAME: {from: command, command: ...}}`",
    "extends": "name both files",
}
