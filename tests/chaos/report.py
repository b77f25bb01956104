"""A pytest plugin that prints the rows of the fault matrix as a table, and writes them to a page: `--faults-to FILE`."""

from __future__ import annotations

from pathlib import Path

import pytest

_HEAD = ("Fault", "Outcome", "Time to recover", "Lost")
_PAGE = """# Faults

What happens when something breaks, as the last run of `scripts/test --chaos` saw it. Each line is a test that strikes a real agent
with uncommitted work, beside an agent of another installation, and asserts afterwards: no work lost, nothing running twice, nothing
foreign touched, nothing leaked, and nothing left behind when the agent is removed. The time is from the fault, or from the end of one that
lasts, until everything is ready again, and a measure has proven to hold. Times depend on the machine, and on the delays of the test's template,
which are shorter than the defaults (see [recovery](../explanation/recovery.md)).

This page is written by `scripts/test --chaos`.

{table}
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The file to write."""
    parser.addoption("--faults-to", default="", help="Write the fault matrix to this Markdown file.")


class Rows:
    """Collects rows where all reports arrive."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A row of each test that passed."""
        if report.when == "teardown" and report.passed:
            self.rows += [value for name, value in report.user_properties if name == "fault"]  # type: ignore[misc]

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """The table, sorted, because tests run in any order."""
        if not self.rows:
            return
        rows = sorted(self.rows, key=lambda row: row["fault"])
        terminalreporter.section("faults")
        terminalreporter.write_line(table(rows))
        if target := config.getoption("--faults-to"):
            Path(target).write_text(_PAGE.format(table=table(rows)), encoding="utf-8")


def table(rows: list[dict[str, str]]) -> str:
    """Markdown."""
    lines = [_HEAD, tuple("---" for _ in _HEAD)]
    lines += [
        (r["fault"], r["outcome"], f"{r['recovery_s']} s" if r["recovery_s"] else "", r["lost"]) for r in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pytest_configure(config: pytest.Config) -> None:
    """Workers report to the controller; only it has rows."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Rows(), "fault-rows")
