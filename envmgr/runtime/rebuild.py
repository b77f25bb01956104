"""Rebuild what steps share about a generation, from the store and the world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envmgr.errors import ConfigError
from envmgr.model.agent import AgentState, Lifecycle
from envmgr.model.ids import InstanceId
from envmgr.model.lease import StepRecord, StepState
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import Transaction
from envmgr.protocols.workspaces import Repository, Worktree
from envmgr.runtime import sharing
from envmgr.runtime.incarnation import Incarnation, Layout, Systems


async def rebuild(
    state: AgentState,
    spec: AgentSpec,
    *,
    environment: Mapping[str, str],
    instance: InstanceId,
    layout: Layout,
    systems: Systems,
    repo: Repository | None = None,
) -> Incarnation:
    """The incarnation of the agent's present generation, with what earlier runs of the daemon made.

    Args:
        repo: If the caller has just found it.
    """
    inc = Incarnation(
        id=state.id,
        name=state.name,
        generation=state.generation,
        spec=spec,
        repo=repo or await _repository(systems, spec.repo),
        instance=instance,
        layout=layout,
        systems=systems,
        environment=environment,
    )
    inc.ports.update(
        {(s.name, p.name): p.number for s in spec.services for p in s.ports if p.number is not None}
    )
    if state.generation > 1 or state.lifecycle is not Lifecycle.SPAWNING:
        leases, inc.prior, inc.worktree = await systems.store.read(lambda tx: _remembered(tx, inc))
        # A change of services that a crash cut off may have left ports of units that are gone.
        units = {unit.name for unit in inc.services}
        inc.ports.update({key: port for key, port in leases.items() if key[0] in units})
    return inc


async def _repository(systems: Systems, root: str) -> Repository:
    """Also for a checkout that is gone: its agents must still be stopped, and that needs no git."""
    try:
        return await systems.workspaces.find(Path(root))
    except ConfigError:
        return Repository(root=Path(root), common_dir=Path(root) / ".git", key="missing")


def _remembered(
    tx: Transaction, inc: Incarnation
) -> tuple[dict[tuple[str, str], int], Worktree | None, Worktree | None]:
    """Held ports, the worktree of an earlier generation, and the present one."""
    leases = {(x.service, x.name): x.port for x in tx.leases(inc.id) if x.held}
    leases |= sharing.leased(tx, inc)
    prior = present = None
    for generation in range(1, inc.generation + 1):
        record = next((r for r in tx.trail(inc.id, generation) if r.step == "worktree"), None)
        prior = present
        present = _after(record, present)
    return leases, prior, present


def _after(record: StepRecord | None, before: Worktree | None) -> Worktree | None:
    """The worktree after one generation: made by it, removed at its stop, or as before."""
    receipt = record.receipt if record else None
    if record is None or receipt is None:
        return before
    if receipt.get("removed"):
        return None
    if receipt.get("new") and record.state in (StepState.FINISHED, StepState.LEAKED):
        return Worktree(
            path=Path(str(receipt["path"])), branch=str(receipt["branch"]), base=str(receipt["base"])
        )
    return before
