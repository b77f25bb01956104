"""A skip is a failure where everything must be present."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import ROOT, proves

_TESTS = "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no tmux')\n"


def _run(folder: Path, *options: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(_TESTS, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.no_skips", *options],
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )


@proves("HOUSE-002")
@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["one process", "parallel"])
def test_a_skip_fails_the_run_in_ci(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = _run(tmp_path, *options, ci="true")

    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
    assert "CI=true: 1 skipped, so this run has failed" in result.stdout


@proves("HOUSE-002")
def test_a_skip_is_allowed_elsewhere(tmp_path: Path) -> None:
    assert _run(tmp_path, ci="").returncode == pytest.ExitCode.OK
