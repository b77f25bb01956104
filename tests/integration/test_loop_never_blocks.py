"""Async tests notice when envmgr blocks the event loop."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import pytest
from blockbuster import BlockingError

from envmgr.testing.audit import audit
from tests.support.requirements import proves


@proves("HOUSE-005")
@pytest.mark.anyio
async def test_a_blocking_call_in_async_code_raises(tmp_path: Path) -> None:
    with pytest.raises(BlockingError):
        audit(tmp_path)


@proves("HOUSE-005")
@pytest.mark.anyio
async def test_the_same_call_in_a_thread_is_fine(tmp_path: Path) -> None:
    assert await anyio.to_thread.run_sync(audit, tmp_path) == []
