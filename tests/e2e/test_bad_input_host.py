"""A host that lacks something, or a state folder that cannot be used."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.testing.audit import audit
from tests.support.host import Host, git, host, new_repo
from tests.support.requirements import proves

_TOOLS = ("git", "tmux", "sh", "sleep", "env", "tail", "rm", "cat")


def path_without(folder: Path, missing: str) -> str:
    """A PATH on which everything needed is found but one program."""
    folder.mkdir()
    for tool in _TOOLS:
        if tool != missing:
            (folder / tool).symlink_to(shutil.which(tool) or tool)
    return str(folder)


@pytest.fixture
def repo() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="er-"))
    yield new_repo(folder / "repo")
    shutil.rmtree(folder)


@proves("BAD-020")
@pytest.mark.parametrize("tool", ["tmux", "git"])
def test_a_missing_tool_is_named_before_anything_is_begun(tool: str, tmp_path: Path) -> None:
    with host(PATH=path_without(tmp_path / "bin", tool)) as here:
        ran = here.run("spawn", "-t", "shell")
        doctor = here.run("doctor")

        assert ran.code == 7
        assert f"error: {tool} was not found on the daemon's PATH" in ran.err
        assert f"hint:  Install {tool}" in ran.err
        assert here.agents() == {}
        assert here.worktrees() == []
        assert here.branches() == ["main"]
        assert doctor.code == 1
        assert f"Install {tool}" in doctor.out


@proves("BAD-021")
@pytest.mark.parametrize("command", [["ls"], ["spawn", "-t", "shell"], ["daemon", "start"], ["ls", "--json"]])
def test_a_state_folder_that_cannot_be_written_is_named(
    repo: Path, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("")  # below a file nobody may make a folder, not even root

    ran = Host(state=tmp_path / "file" / "state", repo=repo).run(*command)

    assert ran.code == 3
    assert "Traceback" not in ran.err
    said = ran.json["problem"]["message"] if "--json" in command else ran.err
    assert "file/state cannot be used: Not a directory" in said
    assert "Set ENVMGR_STATE_DIR" in ran.out + ran.err
    assert git(repo, "worktree", "list").count("\n") == 1


@proves("BAD-022")
def test_a_state_folder_with_a_path_too_long_for_sockets_is_refused(repo: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)

    ran = Host(state=long, repo=repo).run("spawn", "-t", "shell")

    assert ran.code == 3
    assert "the path of the state folder is too long for sockets" in ran.err
    assert "Set ENVMGR_STATE_DIR to one of at most 88 bytes." in ran.err
    assert not long.exists()


@proves("BAD-022")
def test_the_longest_allowed_state_folder_works(repo: Path) -> None:
    base = Path(tempfile.mkdtemp(prefix="el-"))
    here = Host(state=base / ("y" * (88 - len(str(base)) - 1)), repo=repo)
    try:
        here.ok("spawn", "-t", "web")
        assert here.agent("web-1")["lifecycle"] == "running"
        here.end()
        assert [x for x in here.leftovers() if not x.startswith("worktree")] == []
    finally:
        for found in audit(base):
            assert found.kind == "worktree", found
        shutil.rmtree(base)


@proves("BAD-023")
def test_a_relative_state_folder_means_the_same_to_command_and_daemon(repo: Path) -> None:
    here = Host(state=Path("state"), repo=repo)
    here.ok("daemon", "start")
    absolute = Host(state=repo / "state", repo=repo)

    assert absolute.daemon_pid() == here.daemon_pid()
    absolute.ok("daemon", "stop")


@proves("BAD-024")
def test_a_missing_assistant_is_named_and_everything_is_taken_back() -> None:
    with host() as here:
        here.template("absent", "envmgr: 1\nagent: {kind: command, command: [no-such-assistant, x]}\n")

        ran = here.run("spawn", "-t", "absent", "--name", "lost")

        assert ran.code == 8
        assert "no-such-assistant was not found" in ran.err
        assert "nothing was left behind" in ran.err
        assert here.branches() == ["main"]
        assert here.worktrees() == []
        assert here.agent("lost")["lifecycle"] == "error"
        assert "no-such-assistant was not found" in here.ok("why", "lost").out


@proves("BAD-025")
def test_claude_code_that_is_not_installed_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    bare = path_without(tmp_path / "bin", "")
    with host(PATH=f"{bare}:{Path(sys.executable).parent}") as here:
        ran = here.run("spawn", "-t", "claude", "--name", "lost")

        assert ran.code == 8
        assert "claude was not found" in ran.err
        assert "npm install -g @anthropic-ai/claude-code" in ran.err
        assert here.worktrees() == []
