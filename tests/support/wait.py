"""Wait for a condition inside a deadline; the only place in the tests that sleeps."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

import anyio

T = TypeVar("T")


def eventually(predicate: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.01) -> T:
    """Return the first truthy value of `predicate`.

    The predicate may also assert: a failed assertion means "not yet". It is asked at least once, and once more when
    the time is over, so that a busy machine does not fail what has long become true.

    Raises:
        AssertionError: It stayed untrue; says what the last value was.
    """
    deadline = time.monotonic() + within_s
    while True:
        is_late = time.monotonic() >= deadline
        value, remark = _ask(predicate)
        if value:
            return value
        if is_late:
            raise AssertionError(_never(predicate, remark, within_s))
        time.sleep(every_s)


@overload
async def async_eventually(
    predicate: Callable[[], Awaitable[T]], *, within_s: float = 10.0, every_s: float = 0.01
) -> T: ...


@overload
async def async_eventually(
    predicate: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.01
) -> T: ...


async def async_eventually(
    predicate: Callable[[], object], *, within_s: float = 10.0, every_s: float = 0.01
) -> object:
    """The same for async tests; `predicate` may be async too. One call of it may outlast the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        is_late = time.monotonic() >= deadline
        value, remark = _ask(predicate)
        if inspect.isawaitable(value):
            try:
                value = await value
                remark = f"its last value was {value!r}"
            except AssertionError as error:
                value, remark = None, f"its last assertion said: {error}"
        if value:
            return value
        if is_late:
            raise AssertionError(_never(predicate, remark, within_s))
        await anyio.sleep(every_s)


def _ask(predicate: Callable[[], T]) -> tuple[T | None, str]:
    try:
        value = predicate()
    except AssertionError as error:
        return None, f"its last assertion said: {error}"
    return value, f"its last value was {value!r}"


def _never(predicate: Callable[[], object], remark: str, within_s: float) -> str:
    try:
        source = " ".join(inspect.getsource(predicate).split())
    except (OSError, TypeError):
        source = repr(predicate)
    return f"not true within {within_s:g} s; {remark}; waited for: {source[:300]}"
