"""Bring the workspace of an agent that is gone back: branch, worktree, uncommitted changes and spec; then it is stopped.

A note (`returning/<snapshot>` in the store) is written before git is asked and dropped in the transaction that records the agent. Found
by the next attempt it says that what git has made is of a call that was cut off, and nobody's work.
"""

from __future__ import annotations

import secrets as randomness
from dataclasses import replace
from pathlib import Path

from envmgr.errors import Conflict
from envmgr.model.agent import AgentState, Desired
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.lease import StepRecord, StepState
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import AgentRecord, Snapshot, Transaction
from envmgr.protocols.workspaces import Worktree
from envmgr.runtime import restoring
from envmgr.runtime.actor import Actor
from envmgr.runtime.archiving.gathering import count_as_archived
from envmgr.runtime.supervisor import Supervisor

_NOTES = "returning/"
_GIT = "worktree"


async def bring_back(
    supervisor: Supervisor, snapshot: Snapshot, *, reason: str, has_own_id: bool = True
) -> Actor:
    """Make an agent from a snapshot; volumes that it holds are filled before this returns. May be repeated after a crash.

    Args:
        snapshot: Its name, path, branch and spec are what the agent gets.
        has_own_id: It is the agent that the snapshot was taken of; otherwise another one that begins like it.

    Raises:
        Conflict: Agent, branch or folder exist (again).
    """
    noted = await supervisor.systems.store.read(lambda tx: tx.get(_key(snapshot)))
    agent = snapshot.agent if has_own_id else AgentId(noted or randomness.token_hex(4))
    _refuse_if_there(supervisor, agent, snapshot.name)
    worktree = await _worktree(supervisor, agent, snapshot, was_cut_off=noted == agent)
    now, generation = supervisor.systems.now(), snapshot.generation
    spec = await _spec(supervisor, snapshot)
    state = AgentState(
        id=agent,
        name=snapshot.name,
        generation=generation,
        desired=Desired.STOPPED,
        since=now,
        reason=reason,
    )
    receipt = {"path": str(worktree.path), "branch": worktree.branch, "base": worktree.base, "new": True}

    def insert(tx: Transaction) -> None:
        tx.insert_agent(AgentRecord(state=state, spec=spec, created_at=now))
        step = StepRecord(step=_GIT, order=0, state=StepState.FINISHED, receipt=receipt)
        tx.journal(agent, generation, step)
        tx.mark_restored(snapshot.id)
        tx.drop(_key(snapshot))
        count_as_archived(tx, agent, generation)
        if snapshot.volumes:
            restoring.note_down(tx, agent, restoring.Restoring(snapshot=snapshot.id))

    await supervisor.systems.store.write(insert)
    actor = supervisor.take_over(AgentRecord(state=state, spec=spec, created_at=now))
    supervisor.reach("return-recorded")
    data = {"ref": snapshot.ref, "snapshot": snapshot.id}
    await supervisor.record(NewEvent(kind="agent.restored", agent=agent, generation=generation, data=data))
    await restoring.finish_one(supervisor, actor)
    return actor


def _refuse_if_there(supervisor: Supervisor, agent: AgentId, name: str) -> None:
    if any(a.state.name == name for a in supervisor.actors()):
        raise Conflict(f"an agent named {name} exists again", hint=f"Remove it first: `envmgr rm {name}`.")
    there = supervisor.actor(agent)
    if there is not None:
        raise Conflict(
            f"it is back already, as {there.state.name}", hint=f"See `envmgr show {there.state.name}`."
        )


async def _worktree(
    supervisor: Supervisor, agent: AgentId, snapshot: Snapshot, *, was_cut_off: bool
) -> Worktree:
    store, git = supervisor.systems.store, supervisor.systems.workspaces
    repo = await git.find(Path(snapshot.repo))
    if not was_cut_off and await git.branch_exists(repo, snapshot.branch):
        raise Conflict(
            f"the branch {snapshot.branch} exists already",
            hint="Rename or delete it first; `envmgr archive restore` takes another one with --branch.",
        )
    await store.write(lambda tx: tx.put(_key(snapshot), agent))
    supervisor.reach("return-noted")
    worktree = await git.restore(
        repo,
        path=Path(snapshot.path),
        branch=snapshot.branch,
        head=snapshot.head,
        ref=snapshot.ref,
        owner=f"{supervisor.instance}/{agent}",
        is_again=was_cut_off,
    )
    supervisor.reach("return-worktree")
    return worktree


async def _spec(supervisor: Supervisor, snapshot: Snapshot) -> AgentSpec:
    """What a fork was made from may be gone; it has come back by itself."""
    origin = snapshot.spec.origin
    known = await supervisor.systems.store.read(lambda tx: tx.snapshots())
    if origin is None or any(s.id == origin.snapshot for s in known):
        return snapshot.spec
    return replace(snapshot.spec, origin=None)


def _key(snapshot: Snapshot) -> str:
    return f"{_NOTES}{snapshot.id}"
