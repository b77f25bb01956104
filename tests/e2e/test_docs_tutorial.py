"""Whoever types the tutorial sees what it shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.testing.audit import audit
from tests.support.pages import agrees, blocks, commands
from tests.support.requirements import ROOT, proves
from tests.support.wait import eventually

_TUTORIAL = ROOT / "docs" / "tutorial.md"


class Reader:
    """Somebody who types commands into one shell, one after the other, on a machine without agents."""

    def __init__(self, home: Path) -> None:
        self.folder = home
        self.state = home / "s"
        self._where = home / "where"
        self._environment = {**os.environ, "ENVMGR_STATE_DIR": str(self.state)}

    def types(self, line: str) -> str:
        """Run it; returns everything the terminal would show."""
        done = subprocess.run(
            ["bash", "-c", f'{line}\npwd >"$0"', self._where],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.folder = Path(self._where.read_text(encoding="utf-8").strip())
        return done.stdout

    def writes(self, file: str, text: str) -> None:
        """Put the text into a file of the present folder."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def reader() -> Iterator[Reader]:
    # Not tmp_path, whose length would not leave room for the names of sockets.
    home = Path(tempfile.mkdtemp(prefix="et-"))
    reader = Reader(home)
    try:
        yield reader
    finally:
        if reader.state.exists():
            reader.types("envmgr down --agents")
        left = [found for found in audit(home) if found.kind != "worktree"]
        shutil.rmtree(home)
    assert left == []


@proves("DOCS-001")
@pytest.mark.timeout(120)
def test_the_tutorial_shows_what_happens(reader: Reader) -> None:
    for block in blocks(_TUTORIAL):
        if block.file:
            reader.writes(block.file, block.text)
        for command in commands(block) if block.language == "console" else []:
            printed = reader.types(command.line)
            assert agrees(command.shown, printed), (
                f"tutorial, block at line {block.line}: {command.line}\n"
                f"--- shown ---\n{command.shown}\n--- printed ---\n{printed}"
            )

    eventually(lambda: [f for f in audit(reader.state) if f.kind != "worktree"] == [])
