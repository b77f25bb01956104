"""A worktree whose marks were taken off is its owner's again; one that is somebody else's is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.model.observe import Absent, Present
from envmgr.protocols.workspaces import Reclaimed
from tests.support.git import OWNER, Ground, git, write
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@proves("ADOPT-004", "R-2")
async def test_a_lock_that_was_taken_off_is_put_on_again(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    write(worktree.path, {"draft": "work\n"})
    git(ground.main, "worktree", "unlock", str(worktree.path))
    assert await ground.workspaces.look(ground.repo, worktree.path, OWNER) == Absent()

    found = await ground.workspaces.reclaim(ground.repo, worktree, OWNER)

    assert found == Reclaimed(mended="its lock had been taken off")
    assert await ground.workspaces.look(ground.repo, worktree.path, OWNER) == Present(worktree)
    assert (worktree.path / "draft").exists()
    assert await ground.workspaces.reclaim(ground.repo, worktree, OWNER) == Reclaimed()


@proves("ADOPT-004")
async def test_a_folder_that_lost_its_link_is_a_worktree_again(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    (worktree.path / ".git").unlink()

    found = await ground.workspaces.reclaim(ground.repo, worktree, OWNER)

    assert found.mended == "its link to the repository was missing"
    assert git(worktree.path, "status", "--porcelain") == ""
    assert await ground.workspaces.look(ground.repo, worktree.path, OWNER) == Present(worktree)


@proves("ADOPT-004", "R-2")
async def test_what_is_somebody_elses_or_elsewhere_is_told_and_left_alone(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")

    other = await ground.workspaces.reclaim(ground.repo, worktree, "in1/somebody")
    git(ground.main, "worktree", "unlock", str(worktree.path))
    git(ground.main, "worktree", "lock", "--reason", "mine", str(worktree.path))
    locked = await ground.workspaces.reclaim(ground.repo, worktree, OWNER)

    assert other == Reclaimed(foreign=f"its worktree is registered for {OWNER}")
    assert locked == Reclaimed(foreign="its worktree is locked by somebody else: mine")
    assert "mine" in git(ground.main, "worktree", "list", "--porcelain")


@proves("ADOPT-004")
async def test_a_worktree_that_was_moved_is_told_with_its_new_place(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    place = tmp_path / "elsewhere"
    git(ground.main, "worktree", "move", "-f", "-f", str(worktree.path), str(place))

    found = await ground.workspaces.reclaim(ground.repo, worktree, OWNER)

    assert found == Reclaimed(foreign=f"its worktree was moved to {place}")


@proves("ADOPT-004")
async def test_of_a_worktree_that_is_gone_nothing_is_made(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    worktree = await ground.tree("one")
    await ground.remove(worktree)

    assert await ground.workspaces.reclaim(ground.repo, worktree, OWNER) == Reclaimed()
    assert not worktree.path.exists()
