"""Processes, keepers among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from envmgr.aio import blocking
from envmgr.model.lease import PortLease
from envmgr.model.observe import Absent, Present, ProcessIdentity, Unknown
from envmgr.model.resource import Kind, Sighting
from envmgr.protocols.processes import Marked
from envmgr.runtime.reaping.ground import Ground, refused, unseen

_GRACE_S = 10.0
_DAEMON = "envmgr.interfaces.http.daemon"


class Processes:
    """See `Sort`. The marker is not enough: the folder it works in, or a leased port it serves, must say the same."""

    kind = Kind.PROCESS

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        match await ground.systems.processes.marked():
            case Present(found):
                proofs = await self._proofs(found, ground)
                return [_sighting(one, proofs, ground) for one in found]
            case Absent():
                return []
            case Unknown(reason):
                return [unseen(Kind.PROCESS, "the process table", reason)]

    async def _proofs(self, found: Sequence[Marked], ground: Ground) -> Mapping[int, str]:
        """Second proofs by pid; a child has its parent's."""
        leases = await ground.systems.store.read(lambda tx: tx.leases())
        proofs = {one.identity.pid: _by_folder(one, ground) for one in found}
        bare = {
            one.agent for one in found if not proofs[one.identity.pid] and one.instance == ground.instance
        }
        serving = await _serving([lease for lease in leases if lease.agent in bare], ground) if bare else {}
        own = {pid: proof or serving.get(pid, "") for pid, proof in proofs.items()}
        known = {one.identity.pid: one for one in found}
        return {pid: own[pid] or _by_descent(one, known, own) for pid, one in known.items()}

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        return seen

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        match await ground.systems.processes.marked():
            case Present(found):
                who = [one.identity for one in found if _key(one.identity) == seen.key]
            case Absent():
                who = []
            case Unknown(reason):
                raise refused(f"{seen.name} cannot be looked at: {reason}")
        if who and await ground.systems.processes.end_these(*who, grace_s=_GRACE_S):
            raise refused(f"{seen.name} does not end")


async def _serving(leases: Sequence[PortLease], ground: Ground) -> dict[int, str]:
    found = {}
    for lease in leases:
        match await blocking.look("proc", 5.0, ground.systems.sockets.listener, lease.port):
            case Present(who):
                found[who.pid] = f"it listens on port {lease.port}, leased for {lease.service}"
    return found


def _by_folder(one: Marked, ground: Ground) -> str:
    if not one.cwd or one.instance != ground.instance:
        return ""
    place = Path(one.cwd)
    if place.is_relative_to(ground.layout.state_dir / "agents" / one.agent):
        return "it works in the agent's folder"
    owner = ground.agent_at(one.cwd)
    if owner == (one.instance, one.agent):
        return "it works in the agent's worktree"
    is_elsewhere = any(claim.owner and place.is_relative_to(claim.path) for claim in ground.claims)
    root = ground.layout.worktree_root
    if not is_elsewhere and place != root and place.is_relative_to(root):
        return "it works in a worktree that is gone"
    return ""


def _by_descent(one: Marked, known: Mapping[int, Marked], own: Mapping[int, str]) -> str:
    seen: set[int] = set()
    while (parent := known.get(one.parent)) is not None and parent.identity.pid not in seen:
        if parent.agent == one.agent and parent.instance == one.instance and own[parent.identity.pid]:
            return f"it is a child of pid {parent.identity.pid}"
        seen.add(parent.identity.pid)
        one = parent
    return ""


def _sighting(one: Marked, proofs: Mapping[int, str], ground: Ground) -> Sighting:
    is_own = _DAEMON in one.command or str(ground.layout.state_dir / "tmux.sock") in one.command
    seen = Sighting(
        kind=Kind.PROCESS,
        key=_key(one.identity),
        name=f"{one.identity.pid} {one.command}",
        instance=one.instance,
        agent=one.agent,
        generation=one.generation,
        age_s=one.age_s,
        size_bytes=one.resident_bytes,
        proof=proofs[one.identity.pid],
    )
    return replace(seen, belongs="envmgr's own; an agent's command has started it") if is_own else seen


def _key(who: ProcessIdentity) -> str:
    return f"{who.pid}@{who.start_ticks}"
