"""Large ignored folders in new worktrees: clones that are the worktree's own, and links that all share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envmgr.errors import ConfigError, Conflict
from tests.support.git import Ground, git, make_repository, write
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


async def _ground(top: Path, ignored: str = "node_modules/\n.venv/\ndata\n") -> Ground:
    main = make_repository(top / "project", {".gitignore": ignored, "src/a": "1\n"})
    return await Ground.lay(top, main=main)


@proves("GIT-028")
async def test_clones_are_whole_at_any_depth_and_shared_with_nobody(tmp_path: Path) -> None:
    ground = await _ground(tmp_path)
    write(ground.main, {"node_modules/a/x": "x\n", "pkg/b/node_modules/y": "y\n", "other": "not ignored\n"})
    os.link(ground.main / "node_modules/a/x", ground.main / "node_modules/hard")
    worktree = await ground.tree("one")

    count = await ground.workspaces.clone(ground.repo, worktree, ["node_modules", ".venv", "other"])
    with (worktree.path / "node_modules/a/x").open("a") as file:
        file.write("edited in place\n")

    assert count == 2
    assert (worktree.path / "pkg/b/node_modules/y").read_text() == "y\n"
    assert (ground.main / "node_modules/a/x").read_text() == "x\n"
    assert not (worktree.path / "other").exists()
    assert git(worktree.path, "status", "--porcelain") == ""


@proves("GIT-028")
async def test_links_in_a_clone_stay_links_and_none_leads_back_to_the_main_checkout(tmp_path: Path) -> None:
    ground = await _ground(tmp_path)
    write(ground.main, {"node_modules/a/x": ""})
    modules = ground.main / "node_modules"
    (modules / "own").symlink_to("../src")
    (modules / "absolute").symlink_to(ground.main / "src")
    (modules / "system").symlink_to("/usr/bin")
    worktree = await ground.tree("one")

    await ground.workspaces.clone(ground.repo, worktree, ["node_modules"])

    made = worktree.path / "node_modules"
    assert (made / "own").readlink() == Path("../src")
    assert (made / "absolute").readlink() == worktree.path / "src"
    assert (made / "system").readlink() == Path("/usr/bin")


@proves("GIT-028")
async def test_what_is_there_is_kept_and_a_clone_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    ground = await _ground(tmp_path)
    write(ground.main, {"node_modules/x": "x\n", ".venv/x": "x\n"})
    worktree = await ground.tree("one")
    write(worktree.path, {"node_modules/mine": "", ".venv.envmgr-part/half": ""})

    assert await ground.workspaces.clone(ground.repo, worktree, ["node_modules", ".venv"]) == 1

    assert [path.name for path in (worktree.path / "node_modules").iterdir()] == ["mine"]
    assert [path.name for path in (worktree.path / ".venv").iterdir()] == ["x"]
    assert not (worktree.path / ".venv.envmgr-part").exists()


@proves("GIT-029")
async def test_links_lead_to_the_main_checkout_and_go_without_it(tmp_path: Path) -> None:
    ground = await _ground(tmp_path)
    write(ground.main, {"data/large": "l\n"})
    worktree = await ground.tree("one")

    assert await ground.workspaces.link(ground.repo, worktree, ["data", "missing"]) == 1

    assert (worktree.path / "data").readlink() == ground.main / "data"
    assert (worktree.path / "data/large").read_text() == "l\n"
    assert git(worktree.path, "status", "--porcelain") == ""
    assert await ground.workspaces.link(ground.repo, worktree, ["data"]) == 0
    await ground.remove(worktree)
    assert (ground.main / "data/large").exists()


@proves("GIT-029")
async def test_a_link_that_git_would_take_for_a_new_file_is_refused(tmp_path: Path) -> None:
    ground = await _ground(tmp_path, "data/\n")
    write(ground.main, {"data/large": "l\n"})
    worktree = await ground.tree("one")

    with pytest.raises(ConfigError, match="git ignores data as a folder only"):
        await ground.workspaces.link(ground.repo, worktree, ["data"])

    assert not os.path.lexists(worktree.path / "data")


@proves("GIT-028", "GIT-029")
async def test_nothing_is_put_outside_and_nothing_of_envmgr_is_taken(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    main = make_repository(tmp_path / "project", {".gitignore": "data\n/trees\n"})
    (main / "cfg").symlink_to(outside)
    git(main, "add", "cfg")
    git(main, "commit", "--quiet", "-m", "link")
    ground = await Ground.lay(tmp_path, main=main)
    ground.root = main / "trees" / "here"
    worktree = await ground.tree("one")
    (main / "cfg").unlink()
    write(main, {"cfg/data": "s\n"})

    for act in (ground.workspaces.clone, ground.workspaces.link):
        assert await act(ground.repo, worktree, ["/trees"]) == 0
        with pytest.raises(Conflict, match="leads out of the worktree"):
            await act(ground.repo, worktree, ["data"])

    assert list(outside.iterdir()) == []
