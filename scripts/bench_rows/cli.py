"""The command line against a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from scripts.bench_rows.rows import ENVMGR, Row, bench_host, median, row
from scripts.bench_rows.spawning import _SLEEPER

_ROUNDS = 25


def rows() -> Iterator[Row]:
    """`--help`, and `ls` with 20 agents."""
    with bench_host() as host:
        repo = host.repository(10, {"bench": _SLEEPER})
        host.spawn(repo, "bench", count=20)
        commands = {
            "pass": [sys.executable, "-c", "pass"],
            "help": [ENVMGR, "--help"],
            "ls": [ENVMGR, "ls"],
            "show": [ENVMGR, "show", "bench-1"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(_ROUNDS):
            for name, argv in commands.items():
                times[name].append(_timed(argv))
        host.clear()
    reference = median(times["pass"])
    for name, words, bar in (
        ("help", "envmgr --help", 3.0),
        ("ls", "envmgr ls, 20 agents", 2.0),
        ("show", "envmgr show", None),
    ):
        yield row(
            "cli",
            words,
            value=median(times[name]),
            unit="ms",
            reference=reference,
            bar=bar,
            note="against python -c pass",
        )


def _timed(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000
