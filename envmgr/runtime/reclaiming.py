"""At start-up: worktrees of agents that run are theirs by git's own lock (R-2); what was taken off meanwhile is put back."""

from __future__ import annotations

import logging

from envmgr.errors import EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.runtime import quarantine
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reporting import Report
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)


async def reclaim(supervisor: Supervisor, actor: Actor, inc: Incarnation, *, report: Report) -> None:
    """Look once. One that is missing is told by those who watch from here on; one of somebody else is left alone."""
    if inc.worktree is None:
        return
    git = inc.systems.workspaces
    try:
        match await git.look(inc.repo, inc.path, inc.owner):
            case Present():
                await quarantine.lift(supervisor, actor, inc, quarantine.WORKTREE)
                return
            case Unknown():
                return
            case Absent():
                found = await git.reclaim(inc.repo, inc.worktree, inc.owner)
    except (EnvmgrError, OSError) as error:
        log.warning("worktree not looked at", extra={"agent": inc.id, "why": str(error)})
        return
    if found.mended:
        data = {"text": f"the worktree of {inc.name} was put right: {found.mended}"}
        await supervisor.record(NewEvent(kind="notice", agent=inc.id, generation=inc.generation, data=data))
    if not found.foreign:
        await quarantine.lift(supervisor, actor, inc, quarantine.WORKTREE)
    else:
        await quarantine.put_part(supervisor, actor, inc, quarantine.WORKTREE, found.foreign, report=report)
