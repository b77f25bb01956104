"""Tasks that live as long as the daemon: what one of them stumbles over ends neither the group nor the others."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import anyio
from anyio.abc import TaskGroup

from envmgr.errors import EnvmgrError

log = logging.getLogger(__name__)

Args = TypeVarTuple("Args")
_FIRST_PAUSE_S = 1.0
_LAST_PAUSE_S = 60.0


def start(group: TaskGroup, what: str, call: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
    """Begin something in the background. Its failure is logged, and is nobody else's.

    Args:
        what: For the log.
    """
    group.start_soon(_bounded, what, call, args)


def keep(group: TaskGroup, what: str, loop: Callable[[], Awaitable[object]]) -> None:
    """Begin a loop in the background; whenever it fails it begins anew after a pause. One that returns is over."""
    group.start_soon(_again_and_again, what, loop)


async def _bounded(what: str, call: Callable[[*Args], Awaitable[object]], args: tuple[*Args]) -> bool:
    """Whether it came to its end."""
    try:
        await call(*args)
    except EnvmgrError as error:
        log.warning("%s failed", what, extra={"why": error.message})
    except Exception:  # a task of the daemon has its boundary here, if nowhere else
        log.exception("%s failed", what)
    else:
        return True
    return False


async def _again_and_again(what: str, loop: Callable[[], Awaitable[object]]) -> None:
    pause_s = _FIRST_PAUSE_S
    while not await _bounded(what, loop, ()):
        await anyio.sleep(pause_s)
        pause_s = min(_LAST_PAUSE_S, pause_s * 2)
