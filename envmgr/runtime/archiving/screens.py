"""Keep what stood in the assistant's terminal, before it is closed."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.steps.environment import write_private

log = logging.getLogger(__name__)

_LINES = 5000
_DEADLINE_S = 2.0


def screen_of(home: Path) -> Path:
    """The text of the assistant's terminal at its last end."""
    return home / "screens" / "agent"


async def keep(inc: Incarnation) -> None:
    """Write down what stands there, with what was scrolled away; a terminal that cannot be read holds nothing up."""
    with anyio.move_on_after(_DEADLINE_S):
        try:
            terminal = await inc.find_terminal()
            if terminal is not None:
                text = await inc.systems.terminals.screen(terminal.agent_pane, history=_LINES)
                await blocking.act("file", _write, screen_of(inc.home), text)
        except (EnvmgrError, OSError) as error:
            log.info("screen not kept", extra={"agent": inc.id, "why": str(error)})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, text.rstrip() + "\n")
