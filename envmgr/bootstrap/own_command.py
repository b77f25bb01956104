"""`envmgr` for agents whose PATH has none, because it was installed into an environment that nobody activates."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

log = logging.getLogger(__name__)


def own_command(state_dir: Path, python: str) -> Path | None:
    """Write the command into a folder of its own, and return that; None when it cannot be written. Blocking.

    The folder that pip wrote it to will not do: it may hold a `python` that would hide the person's.
    """
    folder = state_dir / "bin"
    # -P: what lies in a worktree is not imported. It is this daemon's command, so it asks this daemon.
    text = f"""#!/bin/sh
[ -n "$ENVMGR_STATE_DIR" ] || ENVMGR_STATE_DIR={shlex.quote(str(state_dir))}
export ENVMGR_STATE_DIR
exec {shlex.quote(python)} -P -m envmgr "$@"
"""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        new = folder / ".envmgr.new"
        new.write_text(text, encoding="utf-8")
        new.chmod(0o700)
        new.replace(folder / "envmgr")
    except OSError as error:
        log.warning("agents may not find envmgr", extra={"why": error.strerror or str(error)})
        return None
    return folder
