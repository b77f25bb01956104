"""Run blocking calls in worker threads, with limits per system and deadlines."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from envmgr.errors import Unobservable

P = ParamSpec("P")
T = TypeVar("T")

_LIMITS = {"tmux": 4, "git": 8, "proc": 2, "file": 4, "archive": 1, "probe": 32}
_limiters: dict[str, anyio.CapacityLimiter] = {}
_hanging: set[Hashable] = set()
_hanging_lock = threading.Lock()


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


async def look_again(
    key: Hashable, system: str, deadline_s: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """`look`, for what is looked at again and again: while an abandoned look at `key` hangs, none is begun.

    An abandoned thread gives its place back, so on a dead mount each look would cost one more thread, without end.

    Raises:
        Unobservable: No answer within `deadline_s` seconds, or none yet to an earlier look.
    """
    if key in _hanging:
        raise Unobservable(f"{system} has not answered an earlier look yet", hint="Run `envmgr doctor`.")
    is_begun, is_over = threading.Event(), threading.Event()

    def once() -> T:
        is_begun.set()
        try:
            return call(*args, **kwargs)
        finally:
            with _hanging_lock:
                is_over.set()
                _hanging.discard(key)

    try:
        return await look(system, deadline_s, once)
    finally:
        with _hanging_lock:
            if is_begun.is_set() and not is_over.is_set():
                _hanging.add(key)


async def act(system: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call that changes something in a thread and wait for its end, even when cancelled.

    The call must have its own deadline: an abandoned change could still happen later.
    """
    return await anyio.to_thread.run_sync(functools.partial(call, *args, **kwargs), limiter=_limiter(system))
