"""`envmgr lock overlaps < FILE`: pairs of targets as JSON lines, answers as JSON lines in the same order."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import anyio
from pydantic import ValidationError

from envmgr.app.overlapping import MOST_PAIRS, Overlaps, Pair, overlaps
from envmgr.bootstrap.local import local


def answer_lines(source: Iterable[str], out: TextIO) -> int:
    """Read all pairs and answer each; returns the exit status. Wrong lines have an answer that says why, with their number."""
    app, is_well = local(), True
    lines = ((number, line) for number, line in enumerate(source, start=1) if line.strip())
    while some := list(itertools.islice(lines, MOST_PAIRS)):
        read = {number: _pair(line) for number, line in some}
        right = [pair for pair in read.values() if isinstance(pair, Pair)]
        # The model's own checks have passed for each pair.
        given = iter(anyio.run(overlaps, Overlaps(pairs=right), app).pairs if right else [])
        for number, answer in _in_order(read, (view.model_dump() for view in given)):
            if answer["error"] is None:
                del answer["error"]
            else:
                is_well = False
                answer["error"] = f"line {number}: {answer['error']}"
                print(answer["error"], file=sys.stderr)
            out.write(json.dumps(answer) + "\n")
    return 0 if is_well else 2


def _in_order(
    read: dict[int, Pair | str], given: Iterable[dict[str, Any]]
) -> Iterator[tuple[int, dict[str, Any]]]:  # Any: JSON
    answers = iter(given)
    for number, pair in read.items():
        if isinstance(pair, str):
            yield number, {"a": None, "b": None, "overlaps": None, "witness": None, "error": pair}
        else:
            yield number, next(answers)


def _pair(line: str) -> Pair | str:
    """The pair, or what is wrong with the line."""
    try:
        return Pair.model_validate(json.loads(line))
    except ValidationError:
        return 'neither ["a", "b"] nor {"a": ..., "b": ...}'
    except (ValueError, RecursionError):
        return "no JSON"
