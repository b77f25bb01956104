"""Waiting for the next word of an assistant."""

from __future__ import annotations

import anyio
import pytest

from envmgr.model.agent import Activity
from envmgr.runtime.reports import Reports
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@proves("SEND-002")
async def test_a_report_after_the_mark_is_returned_at_once_even_if_it_came_before_the_wait() -> None:
    reports = Reports()
    mark = reports.count
    reports.put(Activity.WORKING)

    assert await reports.after(mark, within_s=5) is Activity.WORKING


@proves("SEND-002")
async def test_everybody_who_waits_is_woken() -> None:
    reports = Reports()
    got: list[Activity | None] = []

    async def wait() -> None:
        got.append(await reports.after(0, within_s=5))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        reports.put(Activity.READY)

    assert got == [Activity.READY, Activity.READY]


@proves("SEND-002")
async def test_an_old_report_is_not_taken_for_the_next_one() -> None:
    reports = Reports()
    reports.put(Activity.READY)

    assert await reports.after(reports.count, within_s=0.01) is None
