"""Programs that run whatever is typed into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.bootstrap.local import local
from envmgr.core.shells import is_shell
from tests.support.requirements import proves


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("", True),
        ("bash", True),
        ("/bin/sh", True),
        ('exec "${SHELL:-/bin/sh}"', True),
        (("zsh", "-i"), True),
        ("bash -lc aider", False),
        (("sh", "worker.sh"), False),
        ("python3 worker.py", False),
    ],
)
def test_a_shell_is_told_from_what_a_shell_runs(command: str | tuple[str, ...], *, expected: bool) -> None:
    assert is_shell(command) is expected


@proves("DISPATCH-004")
@pytest.mark.parametrize(("agent", "count"), [("{kind: command}", 1), ("{kind: claude_code}", 0)])
def test_a_template_that_would_type_tasks_into_a_shell_is_refused(
    agent: str, count: int, tmp_path: Path
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(f"envmgr: 1\nagent: {agent}\nqueue: auto\n", encoding="utf-8")

    found = [one.message for one in local().templates.check(str(file), tmp_path)]

    assert sum("this agent is a shell" in message for message in found) == count
