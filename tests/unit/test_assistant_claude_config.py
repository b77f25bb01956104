from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from envmgr.assistants.claude_config import admit, config_file, forget
from envmgr.errors import ConfigError, EnvmgrError
from tests.support.requirements import proves

TREE = Path("/trees/a")


def written(file: Path, config: object) -> Path:
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


# Any: it is JSON.
def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


@proves("R-23")
def test_the_questions_of_a_first_run_are_answered_for_one_worktree_only(tmp_path: Path) -> None:
    file = tmp_path / ".claude.json"

    admit(file, TREE, api_key="sk-0123456789-abcdefghijklmnopqrst")

    assert read(file) == {
        "hasCompletedOnboarding": True,
        "projects": {"/trees/a": {"hasTrustDialogAccepted": True}},
        "customApiKeyResponses": {"approved": ["abcdefghijklmnopqrst"], "rejected": []},
    }
    assert file.stat().st_mode & 0o777 == 0o600


@proves("ASSIST-003")
def test_everything_else_in_the_persons_file_stays(tmp_path: Path) -> None:
    own = {"/own": {"allowedTools": ["Bash"], "lastCost": 0.015200000000000002}}
    old = {
        "numStartups": 7,
        "oauthAccount": {"emailAddress": "kim@example.invalid", "smile": "☺😀"},
        "projects": {**own, "/trees/a": {"n": 1}},
        "big": 12345678901234567890,
    }
    file = written(tmp_path / ".claude.json", old)
    file.chmod(0o640)

    admit(file, TREE, api_key=None)

    projects = {**own, "/trees/a": {"n": 1, "hasTrustDialogAccepted": True}}
    assert read(file) == {**old, "hasCompletedOnboarding": True, "projects": projects}
    assert list(read(file))[:4] == list(old)
    assert file.stat().st_mode & 0o777 == 0o640


@proves("ASSIST-003")
def test_forgetting_takes_back_this_worktrees_trust_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / ".claude.json"
    admit(file, TREE, api_key=None)
    admit(file, Path("/trees/b"), api_key=None)

    forget(file, TREE)
    forget(file, TREE)

    assert read(file)["projects"] == {"/trees/b": {"hasTrustDialogAccepted": True}}


@proves("ASSIST-003")
def test_forgetting_makes_no_file(tmp_path: Path) -> None:
    forget(tmp_path / ".claude.json", TREE)

    assert list(tmp_path.iterdir()) == []


@proves("ASSIST-004")
@pytest.mark.parametrize(
    "content", ['{"numStartups": 7', "", "[]", '{"projects": []}', '{"projects": {"/trees/a": 1}}']
)
def test_a_file_that_cannot_be_understood_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    file = tmp_path / ".claude.json"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        admit(file, TREE, api_key=None)

    assert file.read_text(encoding="utf-8") == content
    assert [entry.name for entry in tmp_path.iterdir()] == [".claude.json"]
    assert caught.value.hint
    assert caught.value.details == {"file": str(file)}


def test_a_key_the_person_has_rejected_stays_rejected(tmp_path: Path) -> None:
    answers = {"approved": ["other"], "rejected": ["abcdefghijklmnopqrst"]}
    file = written(tmp_path / ".claude.json", {"customApiKeyResponses": answers})

    admit(file, TREE, api_key="sk-abcdefghijklmnopqrst")

    assert read(file)["customApiKeyResponses"] == answers


def test_a_second_time_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".claude.json"
    admit(file, TREE, api_key="k" * 30)
    first = file.stat()

    admit(file, TREE, api_key="k" * 30)

    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def test_a_linked_dotfile_stays_a_link(tmp_path: Path) -> None:
    real = written(tmp_path / "dotfiles.json", {"n": 1})
    link = tmp_path / ".claude.json"
    link.symlink_to(real)

    admit(link, TREE, api_key=None)

    assert link.is_symlink()
    assert read(real)["n"] == 1
    assert TREE.as_posix() in read(real)["projects"]


@proves("ASSIST-005")
def test_twenty_agents_at_once_lose_no_entry(tmp_path: Path) -> None:
    file = written(tmp_path / ".claude.json", {"n": 1})
    trees = [Path(f"/trees/{number}") for number in range(20)]

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda tree: admit(file, tree, api_key=None), trees))

    assert set(read(file)["projects"]) == {str(tree) for tree in trees}
    assert [entry.name for entry in tmp_path.iterdir()] == [".claude.json"]


@contextmanager
def locked_by_claude(file: Path) -> Iterator[Path]:
    lock = Path(f"{file}.lock")
    lock.mkdir()
    yield lock
    if lock.exists():
        lock.rmdir()


@proves("ASSIST-005")
def test_a_change_waits_for_claude_code_to_release_its_lock(tmp_path: Path) -> None:
    file = tmp_path / ".claude.json"
    with ThreadPoolExecutor(1) as pool:
        with locked_by_claude(file):
            change = pool.submit(admit, file, TREE, api_key=None)
            written(file, {"written": "under the lock"})
            assert not change.done()
        change.result(timeout=5)

    assert read(file)["written"] == "under the lock"
    assert "/trees/a" in read(file)["projects"]


@proves("ASSIST-005")
def test_a_lock_that_a_killed_claude_code_left_is_broken(tmp_path: Path) -> None:
    file = tmp_path / ".claude.json"
    with locked_by_claude(file) as lock:
        os.utime(lock, (time.time() - 11,) * 2)

        admit(file, TREE, api_key=None)

    assert "/trees/a" in read(file)["projects"]
    assert not lock.exists()


def test_a_file_that_cannot_be_written_is_an_expected_error(tmp_path: Path) -> None:
    (tmp_path / "not-a-folder").write_text("", encoding="utf-8")

    with pytest.raises(EnvmgrError) as caught:
        admit(tmp_path / "not-a-folder" / ".claude.json", TREE, api_key=None)

    assert caught.value.hint


@proves("ASSIST-006")
def test_the_file_is_where_claude_code_looks_for_it(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    (home / ".claude").mkdir(parents=True)

    assert config_file({"HOME": str(home)}) == home / ".claude.json"
    assert config_file({"HOME": str(home), "CLAUDE_CONFIG_DIR": str(other)}) == other / ".claude.json"

    old = written(home / ".claude" / ".config.json", {})
    assert config_file({"HOME": str(home)}) == old
