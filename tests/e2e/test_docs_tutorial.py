"""Whoever types the tutorial sees what it shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envmgr.testing.audit import audit
from tests.support.docker import POSTGRES, REDIS
from tests.support.pages import agrees, blocks, commands, same
from tests.support.requirements import ROOT, proves
from tests.support.wait import eventually

_TUTORIAL = ROOT / "docs" / "tutorial.md"
_README = ROOT / "README.md"


class Reader:
    """Somebody who types commands into one shell, one after the other, on a machine without agents."""

    def __init__(self, home: Path) -> None:
        self.folder = home
        self.state = home / "s"
        self._where = home / "where"
        self._environment = {**os.environ, "ENVMGR_STATE_DIR": str(self.state)}

    def types(self, line: str, *, hear_talk: bool = True) -> str:
        """Run it; returns what the terminal would show, with or without stderr."""
        done = subprocess.run(
            ["bash", "-c", f'{line}\npwd >"$0"', self._where],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if hear_talk else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        self.folder = Path(self._where.read_text(encoding="utf-8").strip())
        return done.stdout

    def worktree(self, agent: str) -> Path:
        """Where an agent works."""
        return Path(json.loads(self.types(f"envmgr show {agent} --json"))["worktree"])

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


_PROCFILE = "api: exec python3 -m http.server $PORT --bind 127.0.0.1\n"
_COMPOSE = f"""\
services:
  db:
    image: {POSTGRES}
    environment: {{POSTGRES_USER: shop, POSTGRES_PASSWORD: shop}}
    ports: ["5432:5432"]
  cache: {{image: {REDIS}, ports: ["6379:6379"]}}
"""
# No registry can be reached: the images of the tests stand for the public ones.
_IMAGES = {"postgres:16-alpine": POSTGRES, "redis:7-alpine": REDIS}


def _makes_a_project(reader: Reader, **files: str) -> None:
    for name, text in {"index.html": "<h1>Little shop</h1>\n", **files}.items():
        reader.writes(name, text)
    reader.writes("Makefile", "check:\n\t@touch checked\n")
    reader.writes(".gitignore", "/checked\n")
    reader.types("git init -q -b main && git add -A && git commit -q -m 'Little shop'")


@proves("DOCS-005")
def test_the_first_screen_of_the_readme_shows_what_happens(reader: Reader) -> None:
    _makes_a_project(reader, **{"compose.yaml": _COMPOSE})
    missing = {}
    for command in commands(next(blocks(_README))):
        printed = _plain(reader.types(command.line)).splitlines()
        missing[command.line] = [line for line in _plain(command.shown).splitlines() if line not in printed]
    reader.types("envmgr stop default-1 default-2 && envmgr rm default-1 default-2 --yes --no-volumes")

    assert len(missing) > 3
    assert {line: lines for line, lines in missing.items() if lines} == {}


def _plain(text: str) -> str:
    """Without what differs from run to run, and with the images that are there."""
    for public, ours in _IMAGES.items():
        text = text.replace(public, ours)
    return same(re.sub(r"\b[0-9a-f]{12}\b", "ID", text))


@proves("DOCS-005")
def test_the_quick_start_of_the_readme_works_as_it_stands(reader: Reader) -> None:
    _makes_a_project(reader, Procfile=_PROCFILE)
    quick_start = next(block for block in blocks(_README) if "pip install ." in block.text).text
    lines = [line.partition("#")[0].strip() for line in quick_start.splitlines()]
    failed = {}

    # Nobody sits at a terminal here, so nobody attaches, and the yes is given in advance.
    for line in [line for line in lines if line.startswith("envmgr") and " attach " not in line]:
        printed = reader.types(f"{line}{' --yes' if ' rm ' in line else ''} || echo FAILED")
        if "FAILED" in printed:
            failed[line] = printed
        if " send " in line:
            checked = reader.worktree("default-1") / "checked"
            eventually(checked.exists)

    assert failed == {}
    assert (reader.worktree("default-1") / "index.html").exists()
