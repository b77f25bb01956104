"""What is wrong with the request itself: refused before anything is recorded, with the next move named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, Ran, git, host
from tests.support.requirements import proves
from tests.support.untouched import untouched


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        here.sleeper()
        yield here


def refused(here: Host, *args: str, cwd: Path | None = None, stdin: str = "") -> Ran:
    """Run what must fail, and see that it recorded and touched nothing."""
    agents = set(here.agents())
    with untouched(here):
        ran = here.run(*args, cwd=cwd, stdin=stdin)
    assert set(here.agents()) == agents
    assert "Traceback" not in ran.err
    return ran


@proves("BAD-001")
@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "$(touch pwned)",
        "a;b",
        "../up",
        "ünïcode",
        "-leading",
        "",
        "a" * 41,
        "a/b",
        "Upper",
        "_x",
        "a\nb",
    ],
)
def test_a_name_that_does_not_belong_in_paths_and_sessions_is_refused(shared: Host, name: str) -> None:
    ran = refused(shared, "spawn", "-t", "sleeper", f"--name={name}")

    assert ran.code == 2
    assert f"error: {name!r} cannot be an agent's name" in ran.err
    assert "hint:  Use 1 to 40 of a-z, 0-9, - and _, beginning with a letter or digit." in ran.err


@proves("BAD-001")
@pytest.mark.parametrize("name", ["a", "9", "a" * 40, "a-b_c"])
def test_a_name_of_the_allowed_form_is_taken_as_it_is(shared: Host, name: str) -> None:
    ran = shared.ok("spawn", "-t", "sleeper", f"--name={name}", "--dry-run", "--json")

    assert ran.json["plan"]["name"] == name


@proves("BAD-002")
def test_outside_of_a_repository_it_says_what_to_do(shared: Host, tmp_path: Path) -> None:
    ran = refused(shared, "spawn", "-t", "sleeper", cwd=tmp_path)

    assert ran.code == 3
    assert "is not in a git repository" in ran.err
    assert "hint:  Change into one, or run `git init` there." in ran.err


@proves("BAD-003")
def test_a_repository_without_commit_is_told_how_to_begin(shared: Host, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")

    ran = refused(shared, "spawn", "-t", "shell", cwd=tmp_path / "empty")

    assert ran.code == 3
    assert "has no commit yet" in ran.err
    assert "git commit --allow-empty" in ran.err


@proves("BAD-004")
def test_an_unknown_template_is_answered_with_the_known_ones(shared: Host) -> None:
    ran = refused(shared, "spawn", "-t", "sleper")

    assert ran.code == 4
    assert "error: no template 'sleper'" in ran.err
    assert "Did you mean 'sleeper'?" in ran.err


@proves("BAD-005")
@pytest.mark.parametrize(
    ("param", "says", "hint"),
    [
        ("novalue", "--param 'novalue' is not key=value", "Write --param model=opus."),
        ("=x", "--param '=x' is not key=value", "Write --param model=opus."),
        ("comand=x", "unknown param 'comand'", "Did you mean 'command'?"),
    ],
)
def test_a_wrong_param_is_named(shared: Host, param: str, says: str, hint: str) -> None:
    ran = refused(shared, "spawn", "-t", "shell", "--param", param)

    assert ran.code in (2, 3)
    assert f"error: {says}" in ran.err
    assert hint in ran.err


@proves("BAD-006")
def test_an_unknown_base_is_refused_with_the_close_names(shared: Host) -> None:
    ran = refused(shared, "spawn", "-t", "sleeper", "--base", "mian")

    assert ran.code == 3
    assert "there is no commit `mian`" in ran.err
    assert "main" in ran.err.partition("hint:")[2]


@proves("BAD-007")
def test_a_branch_that_exists_or_that_git_would_not_take_is_refused(shared: Host) -> None:
    exists = refused(shared, "spawn", "-t", "sleeper", "--branch", "main")
    invalid = refused(shared, "spawn", "-t", "sleeper", "--branch", "a b")
    several = refused(shared, "spawn", "-t", "sleeper", "--branch", "x", "-n", "2")

    assert (exists.code, invalid.code, several.code) == (5, 3, 2)
    assert "the branch main exists already" in exists.err
    assert "--base main" in exists.err
    assert "`a b` is not a valid branch name" in invalid.err
    assert "2 agents cannot share the branch x" in several.err


@proves("BAD-008")
def test_an_empty_prompt_is_taken_for_a_mistake(shared: Host, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")

    for args in (["--prompt", ""], ["--prompt", " \n "], ["--prompt-file", str(empty)], ["--prompt", "-"]):
        ran = refused(shared, "spawn", "-t", "sleeper", *args)

        assert ran.code == 2
        assert "error: the prompt is empty" in ran.err


@proves("BAD-009")
def test_a_prompt_file_that_cannot_be_read_is_named(shared: Host, tmp_path: Path) -> None:
    binary = tmp_path / "picture.png"
    binary.write_bytes(b"\x89PNG\xff\xfe")

    missing = refused(shared, "spawn", "-t", "sleeper", "--prompt-file", "nowhere.txt")
    unreadable = refused(shared, "spawn", "-t", "sleeper", "--prompt-file", str(binary))
    both = refused(shared, "spawn", "-t", "sleeper", "--prompt-file", "x", "--prompt", "y")

    assert (missing.code, unreadable.code, both.code) == (2, 2, 2)
    assert "prompt file nowhere.txt cannot be read: No such file or directory" in missing.err
    assert "prompt file picture.png cannot be read: it is not UTF-8 text" in unreadable.err
    assert "both --prompt and --prompt-file are given" in both.err


@proves("BAD-010")
@pytest.mark.parametrize("count", ["0", "-1", "51", "many"])
def test_a_count_out_of_range_is_refused_by_the_option_itself(shared: Host, count: str) -> None:
    ran = refused(shared, "spawn", "-t", "sleeper", f"--count={count}")

    assert ran.code == 2
    assert "'--count' / '-n'" in ran.err


@proves("BAD-011")
def test_an_agent_that_does_not_exist_is_answered_with_those_that_do(shared: Host) -> None:
    shared.ok("spawn", "-t", "sleeper", "--name", "blue-otter")

    for command in (
        ["show"], ["why"], ["stop"], ["start"], ["url"], ["env"], ["logs"], ["attach"], ["events"], ["rm", "-y"],
    ):  # fmt: skip
        ran = refused(shared, *command, "blue-oter")

        assert ran.code == 4, command
        assert "error: no agent blue-oter" in ran.err
        assert "hint:  Did you mean blue-otter?" in ran.err


@proves("BAD-012")
def test_a_taken_name_is_refused_with_three_ways_out(shared: Host) -> None:
    shared.ok("spawn", "-t", "sleeper", "--name", "taken")

    ran = refused(shared, "spawn", "-t", "sleeper", "--name", "taken")

    assert ran.code == 5
    assert "an agent named taken exists" in ran.err
    assert "envmgr start taken" in ran.err


@proves("BAD-013")
def test_a_mistyped_command_or_option_names_the_nearest_one(shared: Host) -> None:
    command, option = refused(shared, "spwan"), refused(shared, "spawn", "--templat", "x")

    assert (command.code, option.code) == (2, 2)
    assert re.search(r"Did you mean .*'spawn'", command.err)
    assert "--template" in option.err
