"""What an agent's worktree holds, where it lies, and what becomes of the main checkout: nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, git, host, new_repo
from tests.support.requirements import proves
from tests.support.untouched import checkout, untouched

_AGENT = "agent: {kind: command, command: [sleep, '1000']}\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="ew-"))
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.sleeper()
        here.ok("spawn", "-t", "sleeper", "--name", "neighbour")
        yield here


def spawned(here: Host, name: str, text: str, *, repo: Path | None = None) -> Path:
    here.template(name, text)
    here.ok("spawn", "-t", str(here.repo / f".envmgr/templates/{name}.yaml"), "--name", name, cwd=repo)
    return Path(here.agent(name)["worktree"])


@proves("WORK-001")
def test_the_main_checkout_is_not_touched_by_a_whole_life(shared: Host) -> None:
    (shared.repo / "index.html").write_text("being edited\n")
    (shared.repo / "untracked.txt").write_text("mine\n")
    shared.template("life", "envmgr: 1\n" + _AGENT)
    before = checkout(shared.repo)

    shared.ok("spawn", "-t", "life", "--name", "life")
    place = Path(shared.agent("life")["worktree"])
    (place / "index.html").write_text("the agent's\n")
    git(place, "commit", "-q", "-am", "work")
    shared.ok("stop", "life")
    shared.ok("rm", "life", "--yes", "--discard", "life")
    shared.ok("undo", "life")
    shared.ok("rm", "life", "--yes", "--discard", "life")

    assert checkout(shared.repo) == before
    assert (shared.repo / "index.html").read_text() == "being edited\n"
    assert not place.is_relative_to(shared.repo)


@proves("WORK-002")
def test_ignored_files_that_are_named_are_copied_and_no_others(folder: Path, shared: Host) -> None:
    repo = new_repo(folder / "repo", {".gitignore": ".env*\nnode_modules/\nsecret.key\n", "a.txt": "a\n"})
    for name in (".env.local", ".env.other", "secret.key", "node_modules/pkg/index.js", "untracked.txt"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(f"{name}\n")
    (repo / ".worktreeinclude").write_text("# for agents\nnode_modules/\n")

    place = spawned(shared, "copies", "envmgr: 1\nworkspace: {copy: [.env.local]}\n" + _AGENT, repo=repo)

    there = {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file() and p.name != ".git"}
    assert there == {".gitignore", "a.txt", ".env.local", "node_modules/pkg/index.js"}
    assert (place / ".env.local").read_text() == ".env.local\n"


@proves("WORK-003")
def test_submodules_are_there(folder: Path, shared: Host) -> None:
    library = new_repo(folder / "library", {"lib.txt": "library\n"})
    repo = new_repo(folder / "repo")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "vendor/library")
    git(repo, "commit", "-q", "-m", "add submodule")
    git(Path.home(), "config", "--global", "protocol.file.allow", "always")
    try:
        place = spawned(shared, "modules", "envmgr: 1\n" + _AGENT, repo=repo)
        without = spawned(shared, "plain", "envmgr: 1\nworkspace: {submodules: false}\n" + _AGENT, repo=repo)
    finally:
        git(Path.home(), "config", "--global", "--unset", "protocol.file.allow")

    assert (place / "vendor/library/lib.txt").read_text() == "library\n"
    assert list((without / "vendor/library").iterdir()) == []
    shared.ok("stop", "modules")
    shared.ok("rm", "modules", "--yes")
    assert not place.exists()


@proves("WORK-004")
@pytest.mark.parametrize(
    ("setup", "says"),
    [
        ("[echo preparing; exit 6]", "set-up command `echo preparing; exit 6` exited with 6: preparing"),
        ("[{command: sleep 1000, timeout: 400ms}]", "0.4 s"),
        ("[[no-such-tool, x]]", "no-such-tool"),
    ],
)
def test_a_set_up_that_fails_or_hangs_is_named_and_taken_back(shared: Host, setup: str, says: str) -> None:
    name = f"setup-{len(setup)}"
    shared.template(name, f"envmgr: 1\nworkspace:\n  setup: {setup}\n{_AGENT}")

    with untouched(shared):
        ran = shared.run("spawn", "-t", name, "--name", name)

    assert ran.code == 8
    assert "step setup failed" in ran.err
    assert says in ran.err
    assert "nothing was left behind" in ran.err


@proves("WORK-005")
def test_a_set_up_that_failed_runs_again_with_start(shared: Host) -> None:
    shared.template("retry", "envmgr: 1\nworkspace: {setup: [test -e ../../../ready]}\n" + _AGENT)
    assert shared.run("spawn", "-t", "retry", "--name", "retry").code == 8

    (shared.state / "ready").touch()
    shared.ok("start", "retry")

    assert shared.agent("retry")["lifecycle"] == "running"


@proves("WORK-006")
def test_the_repositorys_checkout_hook_runs_in_the_new_worktree(folder: Path, shared: Host) -> None:
    repo = new_repo(folder / "repo", {"a.txt": "a\n", ".gitignore": "hooked\n"})
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\npwd > hooked\n")
    hook.chmod(0o755)

    place = spawned(shared, "hooked", "envmgr: 1\n" + _AGENT, repo=repo)

    assert (place / "hooked").read_text().strip() == str(place.resolve())
    assert not (repo / "hooked").exists()


@proves("WORK-007")
def test_a_failing_checkout_hook_holds_nothing_up_and_is_told_in_the_log(folder: Path, shared: Host) -> None:
    repo = new_repo(folder / "repo")
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\necho hook says no >&2\nexit 1\n")
    hook.chmod(0o755)

    shared.ok("spawn", "-t", "shell", "--name", "no-hook", cwd=repo)

    assert shared.agent("no-hook")["lifecycle"] == "running"
    assert "hook says no" in shared.ok("daemon", "logs").out


@proves("WORK-008")
@pytest.mark.parametrize("name", ["with spaces", "ünïcode ✓", "it's $HOME `x`", "-dash"])
def test_a_repository_may_be_called_anything(folder: Path, shared: Host, name: str) -> None:
    repo = new_repo(folder / name, {"file with spaces.txt": "x\n", "ü.txt": "y\n"})
    before = checkout(repo)

    ran = shared.ok("spawn", "-t", "web", "--json", cwd=repo)
    agent = ran.lines[-1]["agent"]

    place = Path(agent["worktree"])
    assert agent["repo"] == str(repo.resolve())
    assert {p.name for p in place.iterdir()} == {".git", "file with spaces.txt", "ü.txt"}
    assert shared.ok("exec", agent["name"], "--", "pwd").out.strip() == str(place.resolve())
    assert checkout(repo) == before
    shared.ok("stop", agent["name"])
    shared.ok("rm", agent["name"], "-y")


@proves("WORK-009")
def test_spawn_works_from_a_subfolder_and_from_inside_of_an_agents_worktree(
    folder: Path, shared: Host
) -> None:
    repo = new_repo(folder / "repo", {"deep/er/file.txt": "x\n"})

    below = shared.ok("spawn", "-t", "shell", "--json", cwd=repo / "deep" / "er").lines[-1]["agent"]
    inside = shared.ok("spawn", "-t", "shell", "--json", cwd=Path(below["worktree"]) / "deep").lines[-1][
        "agent"
    ]

    assert below["repo"] == inside["repo"] == str(repo.resolve())
    assert Path(below["worktree"]).parent == Path(inside["worktree"]).parent
    assert git(repo, "worktree", "list").count("\n") == 3


@proves("WORK-010")
def test_branch_folder_and_registration_that_are_in_the_way(shared: Host) -> None:
    git(shared.repo, "branch", "agent/occupied")
    root = Path(shared.agent("neighbour")["worktree"]).parent
    (root / "full").mkdir()
    (root / "full" / "somebody.txt").write_text("somebody's\n")

    with untouched(shared):
        branch = shared.run("spawn", "-t", "sleeper", "--name", "occupied")
        place = shared.run("spawn", "-t", "sleeper", "--name", "full")

    assert (branch.code, place.code) == (8, 8)
    assert "the branch agent/occupied exists already" in branch.err
    assert "git branch -d agent/occupied" in branch.err
    assert "full" in place.err
    assert (root / "full" / "somebody.txt").read_text() == "somebody's\n"
    git(shared.repo, "branch", "-d", "agent/occupied")
    shared.ok("start", "occupied")


@proves("WORK-011")
def test_a_stale_registration_of_the_same_folder_is_pruned(shared: Host) -> None:
    root = Path(shared.agent("neighbour")["worktree"]).parent
    git(shared.repo, "worktree", "add", "-q", "-b", "elsewhere", str(root / "stale"))
    shutil.rmtree(root / "stale")

    shared.ok("spawn", "-t", "sleeper", "--name", "stale")

    assert git(root / "stale", "branch", "--show-current").strip() == "agent/stale"


@proves("WORK-012")
def test_a_worktree_that_was_deleted_by_hand_is_made_again_from_its_branch(shared: Host) -> None:
    shared.ok("spawn", "-t", "sleeper", "--name", "lost")
    place = Path(shared.agent("lost")["worktree"])
    (place / "kept.txt").write_text("committed\n")
    git(place, "add", "kept.txt")
    git(place, "commit", "-q", "-m", "kept")
    shared.ok("stop", "lost")
    shutil.rmtree(place)

    shared.ok("start", "lost")

    assert (place / "kept.txt").read_text() == "committed\n"
    assert git(place, "branch", "--show-current").strip() == "agent/lost"


@proves("WORK-013")
def test_a_bare_repository_and_a_detached_head(folder: Path, shared: Host) -> None:
    repo = new_repo(folder / "repo")
    git(repo, "checkout", "-q", "--detach")
    detached = shared.ok("spawn", "-t", "shell", "--json", cwd=repo).lines[-1]["agent"]
    git(folder, "clone", "-q", "--bare", str(repo), "bare.git")
    bare = shared.ok("spawn", "-t", "shell", "--json", cwd=folder / "bare.git").lines[-1]["agent"]

    assert git(Path(detached["worktree"]), "rev-parse", "HEAD") == git(repo, "rev-parse", "HEAD")
    assert (Path(bare["worktree"]) / "index.html").exists()


@proves("GIT-028", "GIT-029")
def test_set_up_finds_large_folders_filled_and_links_lead_to_the_main_checkout(shared: Host) -> None:
    (shared.repo / ".git" / "info" / "exclude").write_text("cached/\nmodels\n")
    for name in ("cached/deep/one", "models/large"):
        (shared.repo / name).parent.mkdir(parents=True, exist_ok=True)
        (shared.repo / name).write_text(f"{name}\n")
    workspace = (
        "{cache: [cached, missing], link: models, setup: 'cat cached/deep/one models/large > cached/seen'}"
    )

    place = spawned(shared, "large", f"envmgr: 1\nworkspace: {workspace}\n{_AGENT}")

    assert (place / "cached/seen").read_text() == "cached/deep/one\nmodels/large\n"
    assert (place / "models").readlink() == shared.repo / "models"
    assert not (shared.repo / "cached/seen").exists()
    shared.ok("rm", "large", "--stop", "--yes")
    assert (shared.repo / "models/large").exists()
