"""What a template may say about recovery. The names are the keys."""

from __future__ import annotations

from typing import Literal

from envmgr.config.fields import Duration, Strict
from envmgr.config.templates.running_schema import Often
from envmgr.model.recovery import RecoveryPolicy

_USUAL = RecoveryPolicy()

RungWord = Literal["service", "session", "realloc", "respawn"]


class Budgets(Strict):
    """How often each measure may be taken by itself; when one is used up, the next measure or a person follows."""

    service: Often = _USUAL.service.budget
    """Restarts of one service that the ladder decides, such as of one that hangs; beside them `restart` of the service counts."""
    session: Often = _USUAL.session.budget
    """Terminal session and assistant made anew, with the same conversation."""
    realloc: Often = _USUAL.realloc.budget
    """Other ports, a step of a limit, clean temporary folders."""
    respawn: Often = _USUAL.respawn.budget
    """Everything anew on the same worktree."""
    any: Often = _USUAL.any
    """All of them together, with restarts by the services' own policies."""


class Delays(Strict):
    """Time before each measure; up to a quarter more by chance, so that agents do not act in step."""

    session: Duration = _USUAL.session.delay_s
    """Before a session is made anew."""
    realloc: Duration = _USUAL.realloc.delay_s
    """Before a reallocation."""
    respawn: Duration = _USUAL.respawn.delay_s
    """Before a respawn; doubled with each one that its budget still sees, 10 minutes at most."""


class Recovery(Strict):
    """What is done by itself when something fails; `docs/explanation/recovery.md` tells how."""

    rungs: tuple[RungWord, ...] = ("service", "session", "realloc", "respawn")
    """Measures that may be taken; with none of them a person is asked at once."""
    budgets: Budgets = Budgets()
    """How often."""
    stabilize: Duration = _USUAL.stabilize_s
    """Time for which everything critical must be well without a break, or the measure has not helped."""
    delays: Delays = Delays()
    """How soon."""
