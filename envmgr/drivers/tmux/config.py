"""The configuration and environment envmgr's own tmux server is started with.

The user's configuration is never read: one stray line of it can end every session (R-12).
"""

from __future__ import annotations

import os
from pathlib import Path

SIZE = (200, 50)
"""Columns and lines of a session nobody is attached to."""

# The server outlives the daemon and hands its environment to every pane: nothing secret may be in it.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")

_TEXT = f"""\
# Written by envmgr at every start of its tmux server; changes here are lost.

# The server lives as long as the agents may come back, not as long as a session exists.
set -s exit-empty off
set -g destroy-unattached off

# Who is attached to a session that ends must not find themselves in another agent's.
set -g detach-on-destroy on

# Exit codes stay readable; a command that ends at once is gone before an option could be set on its pane.
set -g remain-on-exit on

# Every key goes to the program, except two that lead out.
set -g prefix None
set -g prefix2 None
unbind-key -a -T prefix
unbind-key -a -T copy-mode
unbind-key -a -T copy-mode-vi
unbind-key -a -T root
bind-key -T root C-] detach-client
bind-key -T root F10 detach-client
set -g mouse off

# A person who attaches gets a picture that fits their terminal: `manual` would show them a corner of a larger one.
set -g window-size latest
set -g default-size {SIZE[0]}x{SIZE[1]}
set -g status off
set -g set-titles off
set -g pane-border-format " #{{@envmgr-viewer}} "

# What programs print can neither rename windows nor reach the clipboard or terminal of whoever is attached.
set -g allow-rename off
set -g automatic-rename off
set -g allow-passthrough off
set -s set-clipboard off

set -g update-environment ''
set -g history-limit 5000
set -s default-terminal tmux-256color
set -s escape-time 10
set -s focus-events on
"""


def write(directory: Path) -> Path:
    """Write the configuration file into `directory`, which is created if needed, and return its path."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = directory / "tmux.conf"
    new = file.with_suffix(f".{os.getpid()}")
    new.write_text(_TEXT, encoding="utf-8")
    new.replace(file)
    return file


def environment() -> dict[str, str]:
    """The whole environment of the server and of its clients; no inherited tmux variable, no secret."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}
