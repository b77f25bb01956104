"""Run blocking calls in worker threads, with limits per system and deadlines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from envmgr.errors import Unobservable

P = ParamSpec("P")
T = TypeVar("T")

_LIMITS = {"tmux": 4, "git": 8, "proc": 2, "file": 4, "archive": 1, "probe": 32}
_limiters: dict[str, anyio.CapacityLimiter] = {}


def _limiter(system: str) -> anyio.CapacityLimiter:
    if system not in _limiters:
        _limiters[system] = anyio.CapacityLimiter(_LIMITS.get(system, 4))
    return _limiters[system]


async def look(system: str, deadline_s: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a read-only call in a thread; on deadline the thread is abandoned, which harms nothing.

    Raises:
        Unobservable: No answer within `deadline_s` seconds.
    """
    with anyio.move_on_after(deadline_s):
        return await anyio.to_thread.run_sync(
            functools.partial(call, *args, **kwargs), abandon_on_cancel=True, limiter=_limiter(system)
        )
    raise Unobservable(f"{system} did not answer within {deadline_s:g} s", hint="Run `envmgr doctor`.")


async def act(system: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call that changes something in a thread and wait for its end, even when cancelled.

    The call must have its own deadline: an abandoned change could still happen later.
    """
    return await anyio.to_thread.run_sync(functools.partial(call, *args, **kwargs), limiter=_limiter(system))
