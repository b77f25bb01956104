"""Locks that are taken for a task somebody is at, beside those that it declares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from envmgr.errors import Conflict, NotFound
from envmgr.model.principal import Principal
from envmgr.services.lock_desk import LockDesk
from envmgr.services.locks import LockRequest
from tests.support.queues import ANNA, BEN, REPO, Bench, bench
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@pytest.fixture
async def q(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as here:
        yield here


async def ask(q: Bench, who: Principal, target: str, *, task: str) -> None:
    await LockDesk(q.locks).acquire(LockRequest(principal=who, repo=REPO, targets=(target,), task=task))


@proves("LOCK-016")
async def test_a_lock_that_is_taken_for_a_task_ends_with_it_though_the_task_declares_none(q: Bench) -> None:
    await q.add()
    task = await q.got()
    await ask(q, ANNA, "src/a.py", task=task.name)
    assert await q.locked() == {"src/a.py": "anna"}

    await q.done(task)

    assert await q.locked() == {}


@proves("LOCK-016")
async def test_no_lock_is_taken_for_a_task_that_somebody_else_has_or_nobody(q: Bench) -> None:
    free, task = await q.add(), await q.got()
    assert task.name == free
    with pytest.raises(Conflict, match="is not yours now"):
        await ask(q, BEN, "src/a.py", task=task.name)
    await q.done(task)
    with pytest.raises(Conflict, match="is not yours now"):
        await ask(q, ANNA, "src/a.py", task=task.name)
    with pytest.raises(NotFound, match="no task t-999"):
        await ask(q, ANNA, "src/a.py", task="t-999")

    assert await q.locked() == {}
