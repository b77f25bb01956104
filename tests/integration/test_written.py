"""What git says that somebody has written, on real worktrees."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from pathlib import Path

import pytest

from envmgr.drivers.git.written import written
from envmgr.model.observed import WriteKind, Written
from tests.support.git import git, make_repository, write
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_FILES = {
    ".gitignore": "*.log\n/build/\n",
    "a.py": "1\n",
    "b.py": "2\n",
    "dir/c.py": "3\n",
    "dir/d.py": "4\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A linked worktree beside its main checkout."""
    main = make_repository(tmp_path / "main", _FILES)
    git(main, "worktree", "add", "-q", "-b", "otter", str(tmp_path / "tree"))
    return tmp_path / "tree"


async def _look(tree: Path, *touched: str, since: float = 0.0, mark: str = "0") -> Written:
    return await written(tree, touched, since=since, mark=mark)


def _kinds(found: Written) -> dict[str, WriteKind]:
    return {one.path: one.kind for one in found.writes}


async def _mark(tree: Path) -> str:
    return (await _look(tree, mark="")).mark


@proves("CHANGES-001")
async def test_files_that_differ_from_the_last_commit_were_written(tree: Path) -> None:
    write(tree, {"a.py": "changed\n", "new dir/é.py": "new\n", "b.py": "staged\n"})
    git(tree, "add", "b.py")
    (tree / "dir" / "c.py").unlink()
    begun = time.time()

    found = await _look(tree, "a.py", "b.py", "new dir", "new dir/é.py", "dir/c.py", "dir")

    assert _kinds(found) == {
        "a.py": WriteKind.MODIFIED,
        "b.py": WriteKind.MODIFIED,
        "new dir/é.py": WriteKind.ADDED,
        "dir/c.py": WriteKind.DELETED,
    }
    assert all(begun - 5 < one.at <= time.time() for one in found.writes)


@proves("CHANGES-001")
async def test_what_git_ignores_and_what_was_not_touched_does_not_count(tree: Path) -> None:
    write(tree, {"x.log": "l\n", "build/out/o.bin": "o\n", "a.py": "changed\n", "dir/d.py": "changed\n"})

    found = await _look(tree, "x.log", "build/out/o.bin", "build", "b.py", "dir", since=time.time() + 9)

    assert found.writes == ()
    assert found.ignored == ("build/",)


@proves("CHANGES-001")
async def test_what_git_itself_checked_out_or_merged_is_nobodys_writing(tree: Path) -> None:
    main = tree.parent / "main"
    write(main, {"a.py": "from main\n", "e.py": "5\n"})
    git(main, "add", "--all")
    git(main, "commit", "-qm", "second")
    write(tree, {"b.py": "mine\n"})
    git(tree, "commit", "-qam", "mine")
    mark = await _mark(tree)
    git(tree, "merge", "-q", "-m", "merge", "main")

    merged = await _look(tree, "a.py", "e.py", "b.py", mark=mark)
    git(tree, "checkout", "-q", "HEAD~1")
    moved = await _look(tree, "a.py", "e.py", "b.py", mark=merged.mark)

    assert (merged.writes, moved.writes) == ((), ())


@proves("CHANGES-001")
async def test_of_a_merge_in_conflict_only_what_was_edited_since_counts(tree: Path) -> None:
    main = tree.parent / "main"
    write(main, {"a.py": "theirs\n", "b.py": "theirs\n"})
    git(main, "commit", "-qam", "second")
    write(tree, {"a.py": "ours\n"})
    git(tree, "commit", "-qam", "mine")
    mark = await _mark(tree)
    git(tree, "merge", "-q", "main", check=False)
    write(tree, {"dir/d.py": "edited\n"})

    found = await _look(tree, "a.py", "b.py", "dir/d.py", mark=mark)

    assert _kinds(found) == {"dir/d.py": WriteKind.MODIFIED}


@proves("CHANGES-001")
async def test_what_was_written_and_committed_at_once_counts(tree: Path) -> None:
    mark = await _mark(tree)
    write(tree, {"a.py": "changed\n", "n.py": "new\n"})
    (tree / "b.py").unlink()
    git(tree, "add", "--all")
    git(tree, "commit", "-qm", "quick")

    found = await _look(tree, "a.py", "n.py", "b.py", mark=mark)

    assert _kinds(found) == {"a.py": WriteKind.MODIFIED, "n.py": WriteKind.ADDED, "b.py": WriteKind.DELETED}
    assert (await _look(tree, "a.py", mark=found.mark)).writes == ()


@proves("CHANGES-001")
@pytest.mark.parametrize("names", [["a.py"], [f"f{number}" for number in range(300)]])
async def test_many_files_are_looked_at_at_once_and_odd_names_are_themselves(
    tree: Path, names: Collection[str]
) -> None:
    odd = {":(top)x": "1\n", "star*.py": "1\n", "-dash": "1\n", "two  spaces": "1\n"}
    write(tree, dict.fromkeys(names, "changed\n") | odd)

    found = await _look(tree, *names, *odd)

    assert set(_kinds(found)) == {*names, *odd}


@proves("CHANGES-001")
async def test_a_folder_that_was_moved_in_is_all_new(tree: Path) -> None:
    since = time.time()
    write(tree.parent, {"elsewhere/x/y.py": "1\n"})
    shutil.move(tree.parent / "elsewhere", tree / "in")
    (tree / "in").touch()

    found = await _look(tree, "in", since=since)

    assert _kinds(found) == {"in/x/y.py": WriteKind.ADDED}


@proves("CHANGES-001")
async def test_the_main_checkout_can_be_asked_too(tree: Path) -> None:
    main = tree.parent / "main"
    write(main, {"a.py": "changed\n"})

    assert set(_kinds(await _look(main, "a.py"))) == {"a.py"}
