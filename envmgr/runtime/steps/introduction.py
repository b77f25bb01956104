"""The file that tells an assistant at its start what the last session left."""

from __future__ import annotations

from pathlib import Path

from envmgr.aio import blocking
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.introducing import handoff_file, introduction, note_file
from envmgr.runtime.steps.environment import write_private


async def introduce(inc: Incarnation) -> Path:
    """Write down what its assistant should know from the start; without anything to say the file is empty.

    It may get something later: what is left before a compaction is told after it.
    """
    text = await introduction(inc)
    await blocking.act("file", _write_introduction, inc, text)
    return handoff_file(inc, inc.generation)


def _write_introduction(inc: Incarnation, text: str) -> None:
    present = (handoff_file(inc, inc.generation), note_file(inc, inc.generation))
    for old in (*inc.home.glob("handoff-*.md"), *inc.home.glob("respawned-*.md")):
        if old not in present:
            old.unlink()
    write_private(present[0], text)
