"""Spawning against the raw git and tmux commands, in the same run."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.bench_rows.rows import ENVMGR, BenchHost, Row, bench_host, median, row

_SLEEPER = "envmgr: 1\nname: bench\nagent:\n  kind: command\n  command: [sleep, '100000']\n"
_ROUNDS = 9
_BURST = 20
_BURST_ROUNDS = 5


class Raw:
    """`git worktree add` and `tmux new-session` as a person would type them, on a tmux server of their own."""

    def __init__(self, host: BenchHost, repo: Path) -> None:
        self._repo = repo
        self._folder = host.folder / f"raw-{repo.name}"
        self._tmux = ("tmux", "-S", str(host.folder / f"{repo.name}.sock"), "-f", "/dev/null")
        self._count = 0

    def one(self) -> None:
        """A worktree and a session."""
        self._count += 1
        name = f"raw{self._count}"
        tree = self._folder / name
        _run("git", "worktree", "add", "-q", "--no-track", "-b", name, str(tree), cwd=self._repo)
        _run(*self._tmux, "new-session", "-d", "-s", name, "-c", str(tree), "sleep", "100000", cwd=self._repo)

    def clear(self) -> None:
        """Remove all of it."""
        _run(*self._tmux, "kill-server", cwd=self._repo)
        for number in range(1, self._count + 1):
            _run("git", "worktree", "remove", "--force", str(self._folder / f"raw{number}"), cwd=self._repo)
            _run("git", "branch", "-q", "-D", f"raw{number}", cwd=self._repo)
        self._count = 0


def _run(*argv: str, cwd: Path) -> None:
    subprocess.run(argv, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows() -> Iterator[Row]:
    """Single spawns for two sizes, one through the command line, and bursts of 20."""
    with bench_host() as host:
        for files in (100, 5000):
            repo = host.repository(files, {"bench": _SLEEPER})
            yield from _singles(host, repo, files)
        yield _burst(host, host.folder / "repo100")


def _timed(act: object) -> float:
    began = time.perf_counter()
    act()  # type: ignore[operator]  # a callable without arguments
    return (time.perf_counter() - began) * 1000


def _singles(host: BenchHost, repo: Path, files: int) -> Iterator[Row]:
    raw = Raw(host, repo)
    raw.one()
    host.spawn(repo, "bench")
    raws, ours, whole = [], [], []
    for _ in range(_ROUNDS):
        raws.append(_timed(raw.one))
        ours.append(_timed(lambda: host.spawn(repo, "bench")))
        whole.append(_timed(lambda: _run(ENVMGR, "spawn", "-t", "bench", cwd=repo)))
    raw.clear()
    host.clear()
    reference = median(raws)
    what = f"spawn, {files} files"
    yield row(
        "spawn", f"{what}: request to RUNNING", value=median(ours), unit="ms", reference=reference, bar=1.2,
        note="warm daemon, over its socket; the agent's process runs before the end",
    )  # fmt: skip
    yield row(
        "spawn", f"{what}: `envmgr spawn` from start to exit", value=median(whole), unit="ms", reference=reference, bar=None,
        note="includes the start of Python and click",
    )  # fmt: skip


def _burst(host: BenchHost, repo: Path) -> Row:
    raws, ours = [], []
    for _ in range(_BURST_ROUNDS):
        raw = Raw(host, repo)
        raw.one()
        raw.clear()
        raws.append(_timed(lambda raw=raw: [raw.one() for _ in range(_BURST)]))
        raw.clear()
        ours.append(_timed(lambda: host.spawn(repo, "bench", count=_BURST)))
        host.clear()
    return row(
        "spawn", f"{_BURST} spawns at once, 100 files: all RUNNING", value=median(ours), unit="ms",
        reference=median(raws), bar=0.8, note="reference: the raw commands one after another",
    )  # fmt: skip
