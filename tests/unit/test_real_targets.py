"""Links inside of a repository do not make two locks of one file, and none leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.errors import UsageError
from envmgr.runtime.real_targets import real_target
from tests.support.requirements import proves


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A worktree with links of all kinds, beside a main checkout."""
    top = tmp_path / "tree"
    (top / "src" / "api").mkdir(parents=True)
    (top / "src" / "api" / "users.py").touch()
    (top / "lib").mkdir()
    (tmp_path / "main" / "src").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    links = {
        "users": "src/api/users.py",
        "api": "src/api",
        "lib/up": "../src/api",
        "lib/chain": "up",
        "out": "../elsewhere",
        "etc": "/etc/passwd",
        "main": "../main/src",
        "whole": ".",
        "new": "src/later.py",
        "odd": "src/a*b.py",
        "round": "round",
    }
    for name, end in links.items():
        (top / name).symlink_to(end)
    return top


def _real(tree: Path, text: str) -> str:
    return real_target(text, roots=[tree, tree.parent / "main"]).text


@proves("LOCK-TARGET-007")
@pytest.mark.parametrize(
    ("text", "real"),
    [
        ("users", "src/api/users.py"),
        ("api", "src/api"),
        ("./api//users.py", "src/api/users.py"),
        ("lib/chain/users.py", "src/api/users.py"),
        ("lib/up/../x.py", "src/x.py"),
        ("api/*.py", "src/api/*.py"),
        ("lib/up/**", "src/api/**"),
        ("main/x.py", "src/x.py"),
        ("whole", "**"),
        ("whole/*.py", "*.py"),
        ("new", "src/later.py"),
        ("odd", "src/a?b.py"),
        ("src/api/users.py", "src/api/users.py"),
        ("src/not/yet.py", "src/not/yet.py"),
        ("**/users.py", "**/users.py"),
        ("api:GET /users", "api:GET /users"),
        (".", "**"),
    ],
)
def test_a_path_through_links_is_the_path_they_lead_to(tree: Path, text: str, real: str) -> None:
    assert _real(tree, text) == real


@proves("LOCK-TARGET-007")
@pytest.mark.parametrize("text", ["out", "out/x.py", "out/*.py", "etc", "/etc/passwd", "api/../../../x", ""])
def test_what_leads_out_is_refused(tree: Path, text: str) -> None:
    with pytest.raises(UsageError):
        _real(tree, text)


@proves("LOCK-TARGET-007")
def test_a_circle_of_links_is_itself(tree: Path) -> None:
    assert _real(tree, "round") == "round"


@proves("LOCK-TARGET-007")
def test_a_worktree_may_itself_be_reached_by_a_link(tree: Path) -> None:
    other = tree.parent / "other"
    other.symlink_to(tree)

    assert real_target("api/users.py", roots=[other]).text == "src/api/users.py"
