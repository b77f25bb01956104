"""Rung 4: everything but the work anew. Here it is prepared; stop and spawn are the lifecycle's.

Whatever could keep the next generation from starting is looked at before the present one is touched (R-20).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psutil

from envmgr.aio import blocking
from envmgr.errors import Unavailable
from envmgr.model.handoff import HandoffKind
from envmgr.model.spec import Retention
from envmgr.protocols.store import Snapshot
from envmgr.runtime import conversation, leaving, rendering
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.introducing import note_file
from envmgr.runtime.recovery.measure import Measure
from envmgr.runtime.saga import never
from envmgr.runtime.steps.environment import write_private
from envmgr.runtime.tiers import megabytes

_NOTE = """# You were started again by envmgr

Agent {name} (id {agent}), generation {generation}, at the same place and on the same branch as before.

- Why: {why}
- Your files: {files}.
- What ran in your terminal, and programs you had started, were ended. Services were started anew, perhaps on other ports: read
  `{env}` again before you use an address you remember.
- Go on with what you were asked last; nothing has to be repeated that your files show as done.
"""


class RespawnRung:
    """Prepares the next generation."""

    def __init__(self, *, keep_memory_bytes: int = 0, reach: Callable[[str], None] = never) -> None:
        """`keep_memory_bytes`: what a start must leave free on this host. `reach` is called at each named crash point."""
        self._keep_memory_bytes = keep_memory_bytes
        self._reach = reach

    async def act(self, inc: Incarnation, measure: Measure, saved: Snapshot | None, rebuilt: str) -> str:
        """Do it; returns what was done, for people. The caller keeps everybody else from changing the agent.

        Args:
            saved: Its work; None when the worktree was gone.
            rebuilt: How the worktree was made again; empty when it was there.

        Raises:
            Unavailable: The assistant is missing, or the machine has no room; nothing was touched.
            ConfigError: A secret is missing.
        """
        await self._foresee(inc)
        await leaving.leave(inc, HandoffKind.CRASH, measure.because)
        files = rebuilt or "as they were"
        if saved is not None:
            files += f"; a copy is under {saved.ref}"
        note = _NOTE.format(
            name=inc.name,
            agent=inc.id,
            generation=inc.generation + 1,
            why=measure.because or "a recovery",
            files=files,
            env=inc.home / "env",
        )
        await blocking.act("file", _leave, inc, note)
        self._reach("rung-respawn-noted")
        await conversation.cut(inc, measure.key)
        self._reach("rung-respawn-prepared")
        return f"prepared for generation {inc.generation + 1}: {files}"

    async def _foresee(self, inc: Incarnation) -> None:
        secrets = await inc.secrets()
        env = rendering.assistant_env(inc, secrets)
        await blocking.look("file", 5.0, inc.assistant.check, inc.spec.assistant, env)
        # What it uses now comes back when it is stopped; only a machine without any room keeps it from starting.
        free = psutil.virtual_memory().available
        if free < self._keep_memory_bytes // 2:
            raise Unavailable(
                f"the machine has {megabytes(free)} of memory left, too little for a new start",
                hint="Stop some agents (`envmgr ls`).",
            )


def _leave(inc: Incarnation, note: str) -> None:
    """Blocking."""
    write_private(note_file(inc, inc.generation + 1), note)


async def begin_again(actor: Actor, inc: Incarnation) -> None:
    """The new generation's first start was cut off and taken back: what its assistant was told is cut once more."""
    await conversation.cut(inc, f"respawn/{inc.generation}/{inc.systems.now()}")
    actor.incarnation = None


def sparing(inc: Incarnation) -> Incarnation:
    """As a respawn stops it: volumes and worktree stay, whatever the template says about stops."""
    return replace(inc, spec=replace(inc.spec, retention=Retention()))
