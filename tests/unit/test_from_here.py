"""Paths on the command line, from the folder one is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.interfaces.cli.from_here import meant
from tests.support.requirements import proves


@proves("LOCK-HERE-001")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("app.py", "src/app.py"),
        ("../a.txt", "src/../a.txt"),
        ("./x/**", "src/./x/**"),
        ("db:users", "db:users"),
        (":/README.md", "README.md"),
        ("", ""),
    ],
)
def test_a_path_is_meant_from_the_folder_one_is_in(given: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()

    here = meant("lock.acquire", {"targets": [given], "reason": given}, str(tmp_path / "src"))
    top = meant("lock.acquire", {"targets": ["app.py"]}, str(tmp_path))

    assert here == {"targets": [expected], "reason": given}
    assert top == {"targets": ["app.py"]}
