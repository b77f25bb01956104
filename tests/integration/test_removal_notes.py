"""What the store keeps about an agent besides the agent itself goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.runtime import given_up, removal
from tests.support.requirements import proves
from tests.support.worktrees import with_worktree

pytestmark = pytest.mark.anyio


@proves("REALLOC-006")
async def test_the_note_of_a_reallocation_that_was_cut_off_goes_with_its_agent(tmp_path: Path) -> None:
    async with with_worktree(tmp_path) as inc:
        store = inc.systems.store
        await store.write(lambda tx: tx.put(given_up.key(inc.id), '{"measure": "7/1.000", "ports": []}'))
        await removal.remove(inc, reason="rm")

        assert await store.read(lambda tx: tx.under("reallocation/")) == {}
