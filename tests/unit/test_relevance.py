"""Which changes a service follows."""

from __future__ import annotations

import pytest

from envmgr.core import relevance
from envmgr.model.service import WatchSpec
from tests.support.requirements import proves


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("src/a.py", True),
        ("src/deep/b.py", True),
        ("src/readme.md", False),
        ("src/test_a.py", False),
        ("src/deep/test_b.py", False),
        ("other/a.py", False),
        (".env", True),
        ("src", True),
    ],
)
@proves("FOLLOW-006")
def test_paths_include_and_exclude_choose_files(path: str, counts: bool) -> None:  # noqa: FBT001  a table
    watch = WatchSpec(paths=("src", ".env"), include=("**/*.py",), exclude=("**/test_*",))
    assert relevance.concerns(watch, path) is counts


@pytest.mark.parametrize("name", [".git", "node_modules", "__pycache__", ".a.py.swp", "a.py~", ".#a.py"])
@proves("FOLLOW-001")
def test_what_tools_write_for_themselves_is_passed_by(name: str) -> None:
    assert relevance.is_passed_by(name)
    assert not relevance.is_passed_by("a.py")


@proves("FOLLOW-004")
def test_ten_times_a_minute_are_allowed_and_the_eleventh_is_not() -> None:
    pace = relevance.Pace()
    assert all(pace.allows(float(second)) for second in range(10))
    assert not pace.allows(10.0)
    assert pace.allows(60.5)
    assert not pace.allows(60.9)
    pace.begin_anew()
    assert pace.allows(61.0)
