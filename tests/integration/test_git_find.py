from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envmgr.drivers.git import GitWorkspaces
from envmgr.errors import ConfigError
from tests.support.git import Ground, allow_file_clones, git, make_repository, wrap, write
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@proves("GIT-001")
async def test_a_folder_below_and_a_worktree_answer_with_the_main_checkout(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "my project")
    git(main, "worktree", "add", "--quiet", str(tmp_path / "other"))
    workspaces = GitWorkspaces(tmp_path / "state")

    found = [
        await workspaces.find(place) for place in (main, main / "src", main / ".git", tmp_path / "other")
    ]

    assert {repo.root for repo in found} == {main}
    assert {repo.common_dir for repo in found} == {main / ".git"}
    assert {repo.key for repo in found} == {found[0].key}


@proves("R-19")
async def test_two_checkouts_of_the_same_name_have_different_keys_that_are_safe_in_paths(
    tmp_path: Path,
) -> None:
    workspaces = GitWorkspaces(tmp_path / "state")

    one = await workspaces.find(make_repository(tmp_path / "a" / "Äpp $(x);"))
    two = await workspaces.find(make_repository(tmp_path / "b" / "Äpp $(x);"))

    assert one.key != two.key
    assert all(character.isalnum() or character in "-_" for character in one.key + two.key)
    assert one.key.isascii()


@proves("GIT-001")
async def test_a_bare_repository_is_its_own_root_also_when_asked_from_a_worktree(tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(make_repository(tmp_path / "source")), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "--quiet", str(tmp_path / "tree"))
    workspaces = GitWorkspaces(tmp_path / "state")

    assert (await workspaces.find(tmp_path / "bare.git")).root == tmp_path / "bare.git"
    assert (await workspaces.find(tmp_path / "tree")).root == tmp_path / "bare.git"


@proves("GIT-001")
async def test_a_submodule_is_a_repository_with_its_own_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_file_clones(tmp_path / "gitconfig", monkeypatch)
    main = make_repository(tmp_path / "project")
    git(main, "submodule", "--quiet", "add", str(make_repository(tmp_path / "library")), "lib")
    workspaces = GitWorkspaces(tmp_path / "state")

    assert (await workspaces.find(main / "lib")).root == main / "lib"


@proves("GIT-002", "R-37")
@pytest.mark.parametrize(
    ("make", "says", "next_step"),
    [
        (lambda top: (top / "x").mkdir(), "not in a git repository", "git init"),
        (lambda top: git(top, "init", "-q", "x"), "no commit yet", "git commit"),
        (lambda top: None, "there is no folder", "git repository"),
    ],
    ids=["plain folder", "no commit", "no folder"],
)
async def test_an_unusable_place_is_refused_with_the_next_step(
    tmp_path: Path, make: Callable[[Path], object], says: str, next_step: str
) -> None:
    make(tmp_path)
    with pytest.raises(ConfigError) as refused:
        await GitWorkspaces(tmp_path / "state").find(tmp_path / "x" / ("y" if "folder" in says else ""))
    assert says in refused.value.message
    assert next_step in refused.value.hint


@proves("GIT-002")
async def test_a_repository_of_another_user_is_refused_with_the_command_that_trusts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = make_repository(tmp_path / "project")
    # git's own switch for its tests: every owner is somebody else.
    wrap(tmp_path, monkeypatch, 'GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec "$real" "$@"')

    with pytest.raises(ConfigError) as refused:
        await GitWorkspaces(tmp_path / "state").find(main)

    assert "another user" in refused.value.message
    assert f"safe.directory '{main}'" in refused.value.hint


@proves("GIT-003")
async def test_branches_and_tags_resolve_to_full_commit_ids(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    git(ground.main, "tag", "-a", "v1", "-m", "one")

    assert {
        await ground.workspaces.resolve(ground.repo, name) for name in ("main", "v1", ground.base[:8])
    } == {ground.base}


@proves("GIT-003")
async def test_a_mistyped_base_is_refused_with_the_names_that_are_close(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    git(ground.main, "branch", "develop")

    with pytest.raises(ConfigError) as refused:
        await ground.workspaces.resolve(ground.repo, "devlop")

    assert "develop" in refused.value.hint


@proves("GIT-003")
@pytest.mark.parametrize("base", ["--all", "", "-q", "HEAD:README", "main; touch x"])
async def test_a_base_that_is_no_commit_is_refused(tmp_path: Path, base: str) -> None:
    ground = await Ground.lay(tmp_path)
    with pytest.raises(ConfigError):
        await ground.workspaces.resolve(ground.repo, base)


@proves("GIT-004")
async def test_branch_names_are_looked_up_exactly(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    git(ground.main, "branch", "agent/one")

    assert await ground.workspaces.branch_exists(ground.repo, "agent/one")
    assert not await ground.workspaces.branch_exists(ground.repo, "agent")
    assert not await ground.workspaces.branch_exists(ground.repo, "agent/on")


@proves("GIT-004")
@pytest.mark.parametrize("name", ["-x", "a b", "a..b", "@{-1}", "a~1", "", "x.lock", "HEAD"])
async def test_names_that_git_would_not_take_are_refused(tmp_path: Path, name: str) -> None:
    ground = await Ground.lay(tmp_path)
    git(ground.main, "switch", "--quiet", "--create", "before")
    git(ground.main, "switch", "--quiet", "main")
    with pytest.raises(ConfigError):
        await ground.workspaces.branch_exists(ground.repo, name)


@proves("GIT-005")
async def test_git_variables_of_the_caller_do_not_redirect_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoy = make_repository(tmp_path / "decoy")
    main = make_repository(tmp_path / "project")
    write(tmp_path, {"index": ""})
    monkeypatch.setenv("GIT_DIR", str(decoy / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))

    found = await GitWorkspaces(tmp_path / "state").find(main)

    assert (found.root, found.common_dir) == (main, main / ".git")
