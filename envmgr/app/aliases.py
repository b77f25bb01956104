"""Paths of other coordinators that lead to operations of ours, so that their clients need not be changed.

Where an operation's own route is the one that they name, nothing stands here. Names of fields are aliases of the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envmgr.app.operations import Operation
from envmgr.app.registry import OPERATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another route of an operation. Its placeholders are fields of the operation, as those of its own."""

    route: tuple[str, str]
    op: Operation


_ROUTES: dict[str, str] = {}


def aliases() -> Sequence[Alias]:
    """All of them, in the order of their paths."""
    return [
        Alias(route=(method, f"/api/v1{path}"), op=OPERATIONS[name])
        for (method, path), name in sorted(
            (tuple(route.split(" ", 1)), name) for route, name in _ROUTES.items()
        )
    ]
