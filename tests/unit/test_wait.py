"""Waiting ends with the value, or says what it saw last."""

from __future__ import annotations

import itertools

import pytest

from tests.support.wait import async_eventually, eventually


def test_waiting_returns_the_first_true_value() -> None:
    counter = itertools.count()

    assert eventually(lambda: next(counter) // 3 * 7) == 7


def test_waiting_in_vain_says_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"not true within 0\.02 s; its last value was \[\]"):
        eventually(list, within_s=0.02)


def test_a_failed_assertion_means_not_yet() -> None:
    counter = itertools.count()

    def third_time() -> bool:
        assert next(counter) == 2, "too early"
        return True

    assert eventually(third_time)


@pytest.mark.anyio
async def test_async_waiting_takes_async_questions() -> None:
    counter = itertools.count()

    async def ask() -> int:
        return next(counter) // 3 * 7

    assert await async_eventually(ask) == 7
    with pytest.raises(AssertionError, match="its last value was 0"):
        await async_eventually(lambda: 0, within_s=0.02)
