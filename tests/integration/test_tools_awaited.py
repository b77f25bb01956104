"""A prompt waits for the assistant's tools where the assistant would not, and no longer than is good for it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from envmgr.assistants.command import CommandAssistant
from envmgr.runtime import tools
from envmgr.runtime.incarnation import Incarnation
from tests.support.incarnations import incarnation
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


class Hasty(CommandAssistant):
    """Takes a prompt before it has its tools."""

    awaits_tools: ClassVar[bool] = False


@asynccontextmanager
async def started(folder: Path, adapter: CommandAssistant, *, ago_s: float = 0) -> AsyncIterator[Incarnation]:
    async with incarnation(folder, adapter=adapter) as inc:
        inc.systems = replace(inc.systems, tools_command=lambda which: ("tools", which))
        inc.home.mkdir(parents=True, exist_ok=True)
        (inc.home / "start.sh").touch()
        os.utime(inc.home / "start.sh", (time.time() - ago_s,) * 2)
        yield inc


async def waits(inc: Incarnation) -> bool:
    with anyio.move_on_after(0.3) as scope:
        await tools.until_listed(inc)
    return scope.cancelled_caught


@proves("CLIENT-024")
async def test_it_is_waited_for_until_it_has_asked_for_its_tools(tmp_path: Path) -> None:
    async with started(tmp_path, Hasty()) as inc:
        assert await waits(inc)

        tools.listed_file(inc).touch()

        assert not await waits(inc)


@proves("CLIENT-024")
async def test_one_that_never_asks_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async with started(tmp_path, Hasty(), ago_s=21) as inc:
        assert not await waits(inc)


@proves("CLIENT-024")
async def test_one_that_waits_by_itself_or_has_no_tools_is_not_waited_for(tmp_path: Path) -> None:
    async with started(tmp_path, CommandAssistant()) as inc:
        assert not await waits(inc)
    (tmp_path / "off").mkdir()
    async with started(tmp_path / "off", Hasty()) as inc:
        inc.spec = replace(inc.spec, assistant=replace(inc.spec.assistant, tools="off"))
        assert not await waits(inc)
