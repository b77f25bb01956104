"""What every sort of things is looked at with, and what is recorded of their owners."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from envmgr.core.reaping import Policy
from envmgr.errors import EnvmgrError
from envmgr.model.agent import Desired, Lifecycle
from envmgr.model.incident import Rung
from envmgr.model.lease import PortLease
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.resource import Kind, Owner, Records, Sighting, Standing
from envmgr.protocols.store import Transaction
from envmgr.protocols.workspaces import Claimed
from envmgr.runtime import sharing
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Layout, Systems
from envmgr.runtime.sharing import Share
from envmgr.runtime.supervisor import Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One look at this host.

    Attributes:
        claims: Folders where worktrees lie, which also tell whose a process or a mount is.
        awake: Agents that are not stopped: theirs is the inside of their folders.
    """

    systems: Systems
    layout: Layout
    instance: str
    policy: Policy
    claims: tuple[Claimed, ...] = ()
    awake: frozenset[str] = frozenset()

    def agent_at(self, path: str) -> tuple[str, str]:
        """(instance, agent) of the worktree that a path lies in; empty when no worktree of envmgr is there."""
        for claim in self.claims:
            if claim.owner and Path(path).is_relative_to(claim.path):
                instance, _, agent = claim.owner.partition("/")
                return instance, agent
        return "", ""


class Sort(Protocol):
    """One sort of things."""

    kind: Kind

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        """All of this sort, whosever they are. What cannot be seen is one sighting that is unsure."""

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        """What is dear to know, of one that seems to be nobody's: its size, and what would be lost with it."""

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        """Remove exactly this one; harmless when it is gone. Raises EnvmgrError when it stays."""


def unseen(kind: Kind, what: str, reason: str) -> Sighting:
    """A whole sort that does not answer."""
    return Sighting(kind=kind, key=f"{kind.value}:{what}", name=what, unsure=reason)


async def survey(supervisor: Supervisor, policy: Policy) -> Ground:
    """Begin a look."""
    layout, systems = supervisor.layout, supervisor.systems
    match await systems.workspaces.claims(layout.worktree_root):
        case Present(found):
            claims = tuple(found)
        case Absent() | Unknown():
            claims = ()
    return Ground(
        systems=systems,
        layout=layout,
        instance=supervisor.instance,
        policy=policy,
        claims=claims,
        awake=frozenset(
            a.state.id for a in supervisor.actors() if a.state.lifecycle is not Lifecycle.STOPPED
        ),
    )


async def records(supervisor: Supervisor, agents: Collection[str]) -> Records:
    """What is recorded now; always read after the things themselves, for a record is written before anything is made.

    Args:
        agents: Ids that were seen on things.
    """
    owners: dict[str, Owner] = {actor.state.id: _owner(actor) for actor in supervisor.actors()}
    strangers = [agent for agent in agents if agent and agent not in owners]
    shares, owed, leases, past = await supervisor.systems.store.read(partial(_read, strangers=strangers))
    for share in shares:
        owners[share.id] = _shared(share)
    for agent in owed:
        if agent in owners:
            owners[agent] = replace(owners[agent], standing=Standing.BUSY)
    return Records(instance=supervisor.instance, owners=owners, past=past, leases=leases)


def _read(
    tx: Transaction, strangers: Sequence[str]
) -> tuple[Sequence[Share], Collection[str], tuple[PortLease, ...], frozenset[str]]:
    saved = {snapshot.agent for snapshot in tx.snapshots()}
    past = frozenset(a for a in strangers if a in saved or tx.last_events(agent=a, limit=1))
    return sharing.everything(tx), {effect.agent for effect in tx.owed()}, tuple(tx.leases()), past


def _owner(actor: Actor) -> Owner:
    return Owner(
        id=actor.state.id, name=actor.state.name, standing=_standing(actor), generation=actor.state.generation
    )


def _standing(actor: Actor) -> Standing:
    """Anything under way, or in the hands of a person, keeps all of an agent's things from being judged."""
    state = actor.state
    is_climbing = state.rung is not None and state.rung is not Rung.PERSON
    is_in_hand = (
        actor.busy.locked() or bool(actor.in_hand) or actor.changing is not None or bool(actor.unfinished)
    )
    if is_climbing or is_in_hand or state.desired is Desired.REMOVED:
        return Standing.BUSY
    match state.lifecycle:
        case Lifecycle.RUNNING:
            return Standing.UP
        case Lifecycle.STOPPED:
            return Standing.DOWN if not state.holds else Standing.BUSY
    return Standing.BUSY


def _shared(share: Share) -> Owner:
    """Who holds one may be about to start it."""
    standing = Standing.UP if share.is_up or share.holders else Standing.DOWN
    return Owner(id=share.id, name=f"{share.service} (shared)", standing=standing, generation=1)


def refused(what: str) -> EnvmgrError:
    """What stays, and why."""
    return EnvmgrError(what, hint="The next pass looks again; `envmgr audit-resources` shows it.")
