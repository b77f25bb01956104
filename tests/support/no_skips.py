"""In CI a skipped test is a failed run: there everything real must be present."""

from __future__ import annotations

import os

import pytest


def _skipped(config: pytest.Config) -> int:
    # Workers of a parallel run have no terminal; their reports arrive at the one that has.
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("CI") != "true":
        return 0
    return len(reporter.stats.get("skipped", []))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a green run with skips red."""
    if session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why the run is red."""
    if count := _skipped(config):
        terminalreporter.write_line(f"CI=true: {count} skipped, so this run has failed", red=True)
