"""Globs over the files of a worktree."""

from __future__ import annotations

import pytest

from envmgr.core import globs
from tests.support.requirements import proves


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("package-lock.json", "package-lock.json"),
        ("./package-lock.json", "package-lock.json"),
        ("db/migrations/**", "db/migrations/1.sql"),
        ("db/migrations/**", "db/migrations/old/deep/1.sql"),
        ("db/migrations", "db/migrations/old/1.sql"),
        ("db/migrations/", "db/migrations/1.sql"),
        ("**/*.sql", "1.sql"),
        ("**/*.sql", "a/b/1.sql"),
        ("a/**/z", "a/z"),
        ("a/**/z", "a/b/c/z"),
        ("*.py", "a.py"),
        ("a?c", "abc"),
        ("[ab].txt", "b.txt"),
        ("[!ab].txt", "c.txt"),
        (".", "anything/at/all"),
        ("**", "anything/at/all"),
        ("a+b(1)/*", "a+b(1)/x"),
    ],
)
@proves("TASK-002")
def test_a_glob_names_this_file(pattern: str, path: str) -> None:
    assert globs.matcher([pattern])(path)
    assert any(
        start == "." or path == start or path.startswith(f"{start}/") for start in globs.beginnings([pattern])
    )


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.py", "a/b.py"),
        ("a/*", "ab/c"),
        ("a?c", "a/c"),
        ("db/migrations", "db/migrations2"),
        ("[ab].txt", "c.txt"),
        ("a.b", "axb"),
    ],
)
@proves("TASK-002")
def test_a_glob_does_not_name_this_file(pattern: str, path: str) -> None:
    assert not globs.matcher([pattern])(path)


@proves("TASK-002")
def test_only_the_folders_that_can_match_are_looked_into() -> None:
    assert globs.beginnings(["db/migrations/**", "db/migrations/old/*.sql", "package.json"]) == (
        "db/migrations",
        "package.json",
    )
    assert globs.beginnings(["**/*.sql", "db/x"]) == (".",)


@pytest.mark.parametrize("pattern", ["../secret", "/etc/*", "a/../../b"])
@proves("TASK-002")
def test_a_glob_that_leads_out_of_the_worktree_names_nothing(pattern: str) -> None:
    assert globs.beginnings([pattern]) == ()
