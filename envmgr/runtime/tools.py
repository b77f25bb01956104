"""Whether an assistant has its tools: its MCP server leaves a file when it has been asked for them."""

from __future__ import annotations

import time
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.runtime.incarnation import Incarnation

_LISTED_S = 20.0
_POLL_S = 0.05


def listed_file(inc: Incarnation) -> Path:
    """There once the assistant that runs now has asked for its tools."""
    return inc.home / "tools.listed"


async def until_listed(inc: Incarnation) -> None:
    """Wait for the tools of one whose prompt would not; not longer than 20 s after its start, for it works without them too."""
    if inc.assistant.awaits_tools or not inc.tools_command:
        return
    while not await blocking.look("file", 5.0, _is_over, inc):  # noqa: ASYNC110 - files wake nobody
        await anyio.sleep(_POLL_S)


def _is_over(inc: Incarnation) -> bool:
    """Blocking."""
    if listed_file(inc).exists():
        return True
    try:
        started_at = (inc.home / "start.sh").stat().st_mtime
    except OSError:
        return True
    return not 0 <= time.time() - started_at < _LISTED_S
