"""Worktrees: whose they are stands in the reason of git's own lock."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from envmgr.core.counting import counted
from envmgr.errors import EnvmgrError
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.resource import Kind, Sighting
from envmgr.protocols.workspaces import Claimed, Work, Worktree
from envmgr.runtime.reaping.ground import Ground, refused, unseen
from envmgr.runtime.reaping.sizes import size_of


class Worktrees:
    """See `Sort`. What holds work is a person's to remove, and branches always are."""

    kind = Kind.WORKTREE

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        match await ground.systems.workspaces.claims(ground.layout.worktree_root):
            case Present(found):
                return [_sighting(claim, ground) for claim in found]
            case Absent():
                return []
            case Unknown(reason):
                return [unseen(Kind.WORKTREE, str(ground.layout.worktree_root), reason)]

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        claim = await _claim(seen, ground)
        if claim is None:
            return seen
        try:
            work = await ground.systems.workspaces.work(_worktree(claim))
        except EnvmgrError as error:
            return replace(seen, unsure=f"git cannot tell what it holds: {error.message}")
        place = shlex.quote(str(claim.path))
        return replace(
            seen,
            size_bytes=await size_of(claim.path),
            holds=_holds(work),
            advice=f"git -C {place} status; then git worktree unlock {place} && git worktree remove --force {place}",
        )

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        claim = await _claim(seen, ground)
        if claim is None:
            return
        weighed = await self.weigh(seen, ground)
        if weighed.holds or weighed.unsure:
            raise refused(f"{seen.name} holds {weighed.holds or 'nobody knows what'}")
        git = ground.systems.workspaces
        repo = await git.find(claim.path)
        await git.remove(repo, _worktree(claim), owner=claim.owner, root=ground.layout.worktree_root)


async def _claim(seen: Sighting, ground: Ground) -> Claimed | None:
    """As it is now; None when the folder has gone, or is another's."""
    match await ground.systems.workspaces.claims(ground.layout.worktree_root):
        case Present(found):
            return next((claim for claim in found if _key(claim) == seen.key and claim.owner), None)
    return None


def _sighting(claim: Claimed, ground: Ground) -> Sighting:
    instance, _, agent = claim.owner.partition("/")
    is_lost = not claim.owner and claim.common_dir is None and (claim.path / ".git").is_file()
    return Sighting(
        kind=Kind.WORKTREE,
        key=_key(claim),
        name=str(claim.path),
        instance=instance,
        agent=agent,
        age_s=max(0.0, ground.systems.now() - claim.made_at),
        outlives=True,
        unsure="its repository is gone, and it may hold the last copy of somebody's work" if is_lost else "",
    )


def _holds(work: Work) -> str:
    parts = (
        counted(len(work.changed), "changed file") if work.changed else "",
        counted(work.unpushed, "commit") + " of its own" if work.unpushed else "",
        f"a {work.in_progress} under way" if work.in_progress else "",
    )
    return ", ".join(part for part in parts if part)


def _key(claim: Claimed) -> str:
    return f"{Path(claim.path)}@{claim.owner}@{claim.made_at:.0f}"


def _worktree(claim: Claimed) -> Worktree:
    return Worktree(path=claim.path, branch=claim.branch, base=claim.base)
