"""Measure envmgr: `scripts/bench [group ...] [--json]`. Ratios inside one run, medians; see docs/reference/bench.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_rows import (
    cli,
    containers,
    coordinate,
    idle,
    readiness,
    recovery,
    spawning,
    through_daemon,
)
from scripts.bench_rows.rows import Row

GROUPS: dict[str, Callable[[], Iterator[Row]]] = {
    "spawn": spawning.rows,
    "cli": cli.rows,
    "readiness": readiness.rows,
    "idle": idle.rows,
    "store": through_daemon.rows,
    "containers": containers.rows,
    "recovery": recovery.rows,
    "coordinate": coordinate.rows,
}


def main(argv: list[str]) -> int:
    """0 when every bar is reached."""
    as_json = "--json" in argv
    wanted = [word for word in argv if not word.startswith("-")] or list(GROUPS)
    unknown = [word for word in wanted if word not in GROUPS]
    if unknown:
        print(f"no group {', '.join(unknown)}; there are: {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    missed = 0
    for group in wanted:
        for found in GROUPS[group]():
            missed += not found.ok
            print(found.as_json() if as_json else _line(found), flush=True)
    return 1 if missed else 0


def _line(found: Row) -> str:
    bar = "      -" if found.bar is None else f"{found.bar:7.2f}"
    verdict = "ok  " if found.ok else "MISS"
    figures = f"{found.value:>12.3f} {found.unit:<12} ref {found.reference:>10.3f}  ratio {found.ratio:>7.3f}  bar {bar}"
    return f"{verdict} {found.group:<10} {found.name:<66} {figures}  {found.note}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
