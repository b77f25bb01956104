from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import psutil
import pytest

from envmgr.drivers.git import GitWorkspaces
from envmgr.errors import Unavailable
from tests.support.git import Ground, files_in, git, make_repository, python, script, wrap, write
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


@proves("GIT-020")
async def test_filters_run_and_modes_and_symlinks_are_kept(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "project", {".gitattributes": "*.up filter=upper\n", "a.up": "word\n"})
    git(main, "config", "filter.upper.smudge", "tr a-z A-Z")
    git(main, "config", "filter.upper.clean", "tr A-Z a-z")
    script(main / "run", "true")
    (main / "link").symlink_to("a.up")
    git(main, "add", "--all")
    git(main, "commit", "--quiet", "-m", "more")
    ground = await Ground.lay(tmp_path, main=main)

    worktree = await ground.tree("one")

    assert (worktree.path / "a.up").read_text() == "WORD\n"
    assert os.access(worktree.path / "run", os.X_OK)
    assert (worktree.path / "link").readlink() == Path("a.up")
    assert git(worktree.path, "status", "--porcelain") == ""


@proves("GIT-020")
async def test_a_required_filter_that_fails_is_told_with_gits_words_and_may_be_tried_again(
    tmp_path: Path,
) -> None:
    main = make_repository(
        tmp_path / "project", {".gitattributes": "*.x filter=f\n", "a.x": "1\n", "b": "2\n"}
    )
    git(main, "config", "filter.f.smudge", "false")
    git(main, "config", "filter.f.required", "true")
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.register("one")

    with pytest.raises(Unavailable, match=r"smudge filter f failed"):
        await ground.workspaces.checkout(worktree)
    git(main, "config", "filter.f.smudge", "cat")
    await ground.workspaces.checkout(worktree)

    assert files_in(worktree.path) == files_in(main)


@proves("GIT-021")
@pytest.mark.parametrize("hooks", ["", ".githooks", "/absolute"])
async def test_the_post_checkout_hook_runs_once_as_git_would_run_it(tmp_path: Path, hooks: str) -> None:
    main = make_repository(tmp_path / "project")
    if hooks:
        git(main, "config", "core.hooksPath", hooks.replace("/absolute", str(tmp_path / "hooks")))
    folder = {"": main / ".git" / "hooks", ".githooks": main / ".githooks"}.get(hooks, tmp_path / "hooks")
    script(folder / "post-checkout", f'echo "$PWD $*" >> {tmp_path}/seen')
    git(main, "add", "--all")
    git(main, "commit", "--quiet", "--allow-empty", "-m", "hooks")
    (tmp_path / "seen").unlink(missing_ok=True)
    ground = await Ground.lay(tmp_path, main=main)

    for workspaces in (ground.workspaces, GitWorkspaces(tmp_path / "state")):
        worktree = await ground.register(f"w{id(workspaces)}")
        await workspaces.checkout(worktree)
        assert (tmp_path / "seen").read_text() == f"{worktree.path} {'0' * 40} {ground.base} 1\n"
        (tmp_path / "seen").unlink()


@proves("GIT-021")
async def test_a_hanging_hook_is_killed_with_its_children_and_the_files_are_there(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    script(ground.main / ".git" / "hooks" / "post-checkout", f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    ground.workspaces = GitWorkspaces(tmp_path / "state", hook_deadline_s=0.5)

    began = time.monotonic()
    worktree = await ground.tree("one")

    assert time.monotonic() - began < 10
    assert files_in(worktree.path) == files_in(ground.main)
    assert has_ended(int((tmp_path / "pid").read_text()))


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@proves("GIT-021")
async def test_other_hooks_of_the_user_do_not_run(tmp_path: Path) -> None:
    ground = await Ground.lay(tmp_path)
    for hook in ("reference-transaction", "post-index-change", "pre-commit"):
        script(ground.main / ".git" / "hooks" / hook, f"touch {tmp_path}/ran; sleep 60")

    worktree = await ground.tree("one")
    await ground.workspaces.snapshot(worktree, "refs/envmgr/one/1")
    await ground.remove(worktree)

    assert not (tmp_path / "ran").exists()


@proves("GIT-022")
async def test_a_stuck_checkout_ends_at_its_deadline_and_can_be_repeated(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "project", {".gitattributes": "*.x filter=f\n", "a.x": "1\n"})
    git(main, "config", "filter.f.smudge", "sleep 60")
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.register("one")

    with pytest.raises(Unavailable, match="did not end within"):
        await GitWorkspaces(tmp_path / "state", checkout_deadline_s=0.5).checkout(worktree)
    git(main, "config", "filter.f.smudge", "cat")
    await ground.workspaces.checkout(worktree)

    assert git(worktree.path, "status", "--porcelain") == ""


@proves("GIT-022")
async def test_a_cancelled_checkout_leaves_no_process_and_can_be_repeated(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "project", {".gitattributes": "*.x filter=f\n", "a.x": "1\n"})
    git(main, "config", "filter.f.smudge", f"touch {tmp_path}/began; sleep 60")
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.register("one")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ground.workspaces.checkout, worktree)
        await async_eventually((tmp_path / "began").exists)
        tasks.cancel_scope.cancel()
    git(main, "config", "filter.f.smudge", "cat")
    await ground.workspaces.checkout(worktree)

    assert git(worktree.path, "status", "--porcelain") == ""


_ON_A_FULL_DISK = """
import os, subprocess, sys, anyio
from pathlib import Path
from envmgr.errors import Unavailable
from tests.support.git import Ground, write
async def main(top, disk):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    ground = await Ground.lay(top, main=top / "project")
    ground.root = disk
    worktree = await ground.register("one")
    await attempt(ground.workspaces.checkout(worktree))
    print((await ground.workspaces.look(ground.repo, worktree.path, "in1/a1b2c3d4")).__class__.__name__)
    await ground.remove(worktree)
    worktree = await ground.register("two")
    write(ground.main, {".gitignore": "big*", "big.env": "x" * 3_000_000})
    await attempt(ground.workspaces.populate(ground.repo, worktree, ["big.env"]))
    print((worktree.path / "big.env").exists())
async def attempt(call):
    try:
        await call
    except Unavailable as error:
        print(error.message, "|", error.hint)
anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
"""


@proves("GIT-023")
async def test_a_full_disk_is_named_with_its_free_space_and_the_worktree_can_be_removed(
    tmp_path: Path,
) -> None:
    make_repository(tmp_path / "project", {f"file{number}": "x" * 100_000 for number in range(40)})
    (tmp_path / "small").mkdir()
    # In a mount namespace of its own, so that the disk goes with the process.
    enter = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
    process = python(_ON_A_FULL_DISK, str(tmp_path), str(tmp_path / "small"), enter=enter)
    said, trouble = await anyio.to_thread.run_sync(process.communicate)

    assert process.returncode == 0, trouble
    checkout, look, populate, left = said.splitlines()
    assert "the files cannot be written: the disk of" in checkout
    assert "is full (0 KiB free)" in checkout
    assert "Free space" in checkout
    assert look == "Present"
    assert "the disk of" in populate
    assert left == "False"


@proves("GIT-024")
async def test_parallel_checkout_is_asked_for_only_in_large_repositories_on_many_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = await Ground.lay(tmp_path)
    wrap(tmp_path, monkeypatch, f'echo "$*" >> {tmp_path}/calls; exec "$real" "$@"')
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    await ground.tree("small")
    blob = git(ground.main, "hash-object", "README")
    lines = "".join(f"100644 {blob}\tmany/f{number}\n" for number in range(20_001))
    write(tmp_path, {"lines": lines})
    with (tmp_path / "lines").open() as source:
        await anyio.run_process(["git", "update-index", "--index-info"], stdin=source, cwd=ground.main)
    await ground.tree("large")

    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if "read-tree" in line]
    assert ["checkout.workers=8" in call for call in calls] == [False, True]


@proves("GIT-025")
async def test_populate_copies_what_is_ignored_and_matched_and_nothing_else(tmp_path: Path) -> None:
    main = make_repository(
        tmp_path / "project",
        {
            ".gitignore": ".env\nnode_modules/\n*.local\nbuild/\n",
            ".worktreeinclude": "# notes\n*.local\n",
            "config/c": "",
        },
    )
    write(
        main,
        {
            ".env": "SECRET=1\n",
            "config/app.local": "a\n",
            "config/unfinished": "not ignored\n",
            "node_modules/pkg/index.js": "js\n",
            "build/out": "not matched\n",
        },
    )
    (main / "node_modules" / "tool").symlink_to("pkg/index.js")
    (main / ".env").chmod(0o600)
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")
    before = files_in(worktree.path)

    count = await ground.workspaces.populate(ground.repo, worktree, [".env", "node_modules/", "config/"])

    new = {name: text for name, text in files_in(worktree.path).items() if name not in before}
    assert new == {
        name: text
        for name, text in files_in(main).items()
        if name in {".env", "config/app.local", "node_modules/pkg/index.js", "node_modules/tool"}
    }
    assert count == 4
    assert git(worktree.path, "status", "--porcelain") == ""


@proves("GIT-025")
async def test_populate_keeps_files_that_are_there_and_without_patterns_does_nothing(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "project", {".gitignore": ".env\n"})
    write(main, {".env": "main\n"})
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")

    assert await ground.workspaces.populate(ground.repo, worktree, []) == 0
    write(worktree.path, {".env": "agent\n"})
    assert await ground.workspaces.populate(ground.repo, worktree, ["*"]) == 0

    assert (worktree.path / ".env").read_text() == "agent\n"


@proves("R-10")
async def test_populate_copies_no_worktree_no_repository_and_nothing_of_envmgr(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "project", {".gitignore": "cache/\ntrees/\n.envmgr/\n"})
    git(main, "worktree", "add", "--quiet", "-b", "nested", str(main / "cache" / "nested"))
    git(main / "cache", "clone", "--quiet", str(main), "clone")
    write(main, {"cache/kept": "k\n", ".envmgr/state/db": "d\n", "cache/deep/.git/config": "g\n"})
    ground = await Ground.lay(tmp_path, main=main)
    ground.workspaces, ground.root = GitWorkspaces(main / ".envmgr" / "state"), main / "trees"
    await ground.tree("one", owner="a")
    worktree = await ground.tree("two", owner="b")
    before = files_in(worktree.path).keys()

    await ground.workspaces.populate(ground.repo, worktree, ["*"])

    assert files_in(worktree.path).keys() - before == {"cache/kept"}


@proves("GIT-026")
async def test_populate_never_writes_through_a_symlink_out_of_the_worktree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    main = make_repository(tmp_path / "project", {".gitignore": "secret\n"})
    (main / "cfg").symlink_to(outside)
    git(main, "add", "cfg")
    git(main, "commit", "--quiet", "-m", "link")
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")
    (main / "cfg").unlink()
    write(main, {"cfg/secret": "s\n"})

    with pytest.raises(Exception, match="leads out of the worktree"):
        await ground.workspaces.populate(ground.repo, worktree, ["secret"])

    assert list(outside.iterdir()) == []


@proves("GIT-026")
async def test_populate_copies_a_symlink_as_such_wherever_it_leads(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "project", {".gitignore": "venv/\n"})
    write(main, {"venv/x": ""})
    write(tmp_path, {"outside/big": "never copied\n"})
    (main / "venv" / "out").symlink_to(tmp_path / "outside")
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")

    await ground.workspaces.populate(ground.repo, worktree, ["venv"])

    assert (worktree.path / "venv" / "out").readlink() == tmp_path / "outside"


@proves("GIT-026")
async def test_a_cancelled_copy_stops_soon_and_a_repeated_one_completes_it(tmp_path: Path) -> None:
    main = make_repository(tmp_path / "project", {".gitignore": "many/\n"})
    write(main, {f"many/{number}": "" for number in range(3_000)})
    ground = await Ground.lay(tmp_path, main=main)
    worktree = await ground.tree("one")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ground.workspaces.populate, ground.repo, worktree, ["many"])
        await async_eventually(lambda: (worktree.path / "many").exists())
        tasks.cancel_scope.cancel()
    copied = len(list((worktree.path / "many").iterdir()))

    assert copied < 3_000
    assert await ground.workspaces.populate(ground.repo, worktree, ["many"]) == 3_000 - copied
