"""The ground an agent stands on: is its worktree there, and does git know it? And how it is made again."""

from __future__ import annotations

import errno
import glob
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.errors import Conflict, EnvmgrError, Unobservable
from envmgr.model.agent import Lifecycle
from envmgr.model.incident import Part, Symptom
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.store import Snapshot
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reporting import Report
from envmgr.runtime.steps.worktree import AddWorktree, SetUp
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

_FILE_S = 5.0
_EVERY_S = 5.0
_LOCK_AGE_S = 10.0
_POINTER = "gitdir: "
_POINTER_BYTES = 8192


class GroundWatch:
    """Looks at the worktrees of running agents: three `stat` calls each, and a word when one is gone, at the second look."""

    def __init__(
        self,
        supervisor: Supervisor,
        report: Report,
        *,
        period_s: float = _EVERY_S,
        patience_s: float = _FILE_S,
    ) -> None:
        """`patience_s` is for one look at one worktree."""
        self._supervisor, self._report = supervisor, report
        self._period_s, self._patience_s = period_s, patience_s
        self._missed: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(self._period_s)
            try:
                await self.look()
            except Exception:  # a loop of the daemon owns its boundary: one bad turn must not end it
                log.exception("worktrees not looked at")

    async def look(self) -> None:
        """One look at all."""
        for actor in self._supervisor.actors():
            if actor.state.lifecycle is Lifecycle.RUNNING and not actor.busy.locked():
                await self._look_at(actor)

    async def _look_at(self, actor: Actor) -> None:
        agent = actor.state.id
        try:
            inc = await self._supervisor.incarnation(actor)
            wrong = await blocking.look_again(
                ("ground", inc.path), "file", self._patience_s, wrong_with, inc.path
            )
        except (OSError, EnvmgrError) as error:  # not seeing is not losing
            log.debug("worktree not seen", extra={"agent": agent, "why": str(error)})
            return
        except Exception:  # one agent owns its boundary here
            log.exception("worktree not looked at", extra={"agent": agent})
            return
        if not wrong:
            self._missed.discard(agent)
        elif agent not in self._missed:
            self._missed.add(agent)
        else:
            now = self._supervisor.systems.steady()
            self._report(actor, Symptom(part=Part.WORKSPACE, words=wrong, at=now))


def wrong_with(worktree: Path) -> str:
    """What is wrong with it, for people; empty when nothing is. Blocking."""
    pointer = worktree / ".git"
    if not worktree.is_dir():
        return "its worktree is gone"
    if not pointer.exists():
        return "its worktree has lost its .git"
    admin = _admin(worktree)
    if admin is None:
        return "its worktree has lost its .git"
    return "" if _is_folder(admin) else "git does not know its worktree any more"


def _admin(worktree: Path) -> Path | None:
    """git's own folder of it; None when the `.git` there is no pointer of git's. Blocking."""
    pointer = worktree / ".git"
    if pointer.is_dir():
        return pointer
    with pointer.open("rb") as file:  # agents write there whatever they like
        text = os.fsdecode(file.read(_POINTER_BYTES))
    return worktree / text.removeprefix(_POINTER).strip() if text.startswith(_POINTER) else None


def _is_folder(path: Path) -> bool:
    """No path that nobody can have, either: one with a zero byte, or longer than any name."""
    try:
        return path.is_dir()
    except ValueError:
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def free_index(worktree: Path) -> bool:
    """Remove an `index.lock` that a killed git has left; whether there was one. Blocking.

    Only when it is old enough and nobody has it open: git keeps it open while it writes, and then renames it.
    """
    admin = _admin(worktree) if (worktree / ".git").exists() else None
    lock = admin / "index.lock" if admin is not None else None
    if lock is None or not lock.exists() or time.time() - lock.stat().st_mtime < _LOCK_AGE_S:
        return False
    if str(lock.resolve()) in _open_files() or any(_runs_git_in(worktree)):
        return False
    lock.unlink(missing_ok=True)
    return True


def _open_files() -> Iterator[str]:
    for entry in glob.iglob("/proc/[0-9]*/fd/*"):  # noqa: PTH207  thousands of them
        try:
            yield os.readlink(entry)  # noqa: PTH115
        except OSError:
            continue  # closed meanwhile, or another user's, who has no business in here


def _runs_git_in(worktree: Path) -> Iterator[int]:
    """A git that holds the lock closed while an editor of its own runs."""
    place = str(worktree.resolve())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_git = (process / "comm").read_text(encoding="utf-8").startswith("git")
            cwd = os.readlink(process / "cwd") if is_git else ""  # noqa: PTH115
        except OSError:
            continue
        if cwd == place or cwd.startswith(f"{place}/"):
            yield int(process.name)


async def is_there(inc: Incarnation) -> bool:
    """Whether git knows the worktree and it is this agent's. Raises Unobservable when nobody can tell."""
    match await inc.systems.workspaces.look(inc.repo, inc.path, inc.owner):
        case Present():
            return True
        case Absent():
            return False
        case Unknown(reason):
            raise Unobservable(
                f"cannot tell whether the worktree is there: {reason}", hint="Run `envmgr doctor`."
            )


async def rebuild(inc: Incarnation) -> str:
    """Make the worktree again: from the newest saved state of its branch, else from the branch; says which.

    What lies in its place without being a worktree is moved aside, never deleted. May be repeated.

    Raises:
        Conflict: The agent has never had a worktree, or git does not give it back.
    """
    known = inc.worktree or inc.prior
    if known is None:
        raise Conflict(f"{inc.name} has never had a worktree", hint=f"Start it: `envmgr start {inc.name}`.")
    aside = await blocking.act("file", _move_aside, inc.path)
    trial = replace(inc, prior=known, worktree=None)
    await AddWorktree(trial).do()
    assert trial.worktree is not None, "that is what the step makes"
    inc.worktree = replace(trial.worktree, base=known.base)
    saved = await _newest(inc)
    if saved is not None:
        await inc.systems.workspaces.rewind(inc.repo, inc.worktree, head=saved.head, ref=saved.ref)
    await SetUp(replace(inc)).do()
    said = "its worktree was made again from " + ("what was last saved" if saved else "its branch")
    return f"{said}; what lay there is in {aside.name}" if aside else said


async def _newest(inc: Incarnation) -> Snapshot | None:
    """The last saved state, if the branch has not moved since: else it lacks what was committed later."""
    assert inc.worktree is not None, "it was just made"
    tip = await inc.systems.workspaces.resolve(inc.repo, f"refs/heads/{inc.worktree.branch}")
    known = await inc.systems.store.read(lambda tx: tx.snapshots())
    mine = [one for one in known if one.agent == inc.id and one.branch == inc.worktree.branch]
    newest = max(mine, key=lambda one: one.at, default=None)
    return newest if newest is not None and newest.head == tip else None


def _move_aside(path: Path) -> Path | None:
    """Blocking."""
    if not path.exists() or not any(child.name != ".git" for child in path.iterdir()):
        return None
    aside = path.with_name(f"{path.name}.lost-{int(time.time())}")
    path.rename(aside)
    return aside
