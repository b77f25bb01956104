"""What a bench row is, and the host that rows are measured on."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envmgr.app import client


@dataclass(frozen=True)
class Row:
    """One measured thing. `ratio` is value / reference; `ok` compares it with `bar` (None: for information).

    `at_least` rows want a ratio of `bar` or more, all others of `bar` or less.
    """

    group: str
    name: str
    value: float
    unit: str
    reference: float
    ratio: float
    bar: float | None
    ok: bool
    note: str = ""

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def row(
    group: str,
    name: str,
    *,
    value: float,
    unit: str,
    reference: float,
    bar: float | None,
    at_least: bool = False,
    note: str = "",
) -> Row:
    """Make a row; the ratio and the verdict follow from the figures."""
    ratio = value / reference if reference else 0.0
    ok = bar is None or (ratio >= bar if at_least else ratio <= bar)
    return Row(group, name, round(value, 4), unit, round(reference, 4), round(ratio, 3), bar, ok, note)


def median(values: list[float]) -> float:
    """Of at least one value."""
    return statistics.median(values)


class BenchHost:
    """A state directory, repositories and a daemon of the bench's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "SHELL": "/bin/sh"}

    def repository(self, files: int, templates: Mapping[str, str]) -> Path:
        """A repository with so many small files and these templates, one commit."""
        repo = self.folder / f"repo{files}"
        repo.mkdir()
        for number in range(files):
            path = repo / f"d{number // 50}" / f"f{number}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"line {number}\n" * 200, encoding="utf-8")
        for name, text in templates.items():
            path = repo / ".envmgr" / "templates" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        git(repo, "init", "-q", "-b", "main")
        git(repo, "add", "-A")
        git(repo, "-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-q", "-m", "first")
        return repo

    def spawn(self, repo: Path, template: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Spawn and wait until all run; returns the items of progress."""
        body = {"template": template, "repo": str(repo), "environment": self.env, "count": count}
        items = [json.loads(line) for line in client.request("POST", "/api/v1/agents", body).lines()]
        failed = [item for item in items if item["kind"] == "failed"]
        assert not failed, failed
        return items

    def clear(self) -> None:
        """Stop and remove all agents."""
        client.request("POST", "/api/v1/agents/stop", {"all": True}).body()
        client.request("POST", "/api/v1/agents/rm", {"all": True}).body()

    def daemon_pid(self) -> int:
        """The daemon's."""
        pid = client.holder()
        assert pid is not None
        return pid


def git(repo: Path, *args: str) -> None:
    """Run git quietly; raises if it fails."""
    subprocess.run(["git", *args], cwd=repo, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@contextmanager
def bench_host() -> Iterator[BenchHost]:
    """A fresh host with a running daemon; everything is gone on leaving."""
    folder = Path(tempfile.mkdtemp(prefix="eb-"))
    os.environ["ENVMGR_STATE_DIR"] = str(folder / "s")
    client.ensure()
    host = BenchHost(folder)
    try:
        yield host
    finally:
        client.request("POST", "/api/v1/agents/stop", {"all": True}).body()
        client.shut_down()
        shutil.rmtree(folder, ignore_errors=True)


ENVMGR = str(Path(sys.executable).with_name("envmgr"))
