"""Whoever carries out a tool call: the daemon over its socket, or the daemon's own process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from envmgr.interfaces.mcp.catalogue import Tool

# Any throughout: arguments and results are JSON.
Progress = Callable[[int, str], Awaitable[None]]
"""Told of each item of a stream: how many there are by now, and the newest in one line."""

MOST_ITEMS = 500
LONGEST_S = 30.0
"""A stream that could go on for ever, such as a log that is followed, is collected for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a call that did not fail.

    Attributes:
        said: The result in one line.
    """

    result: Mapping[str, Any]
    said: str

    @classmethod
    def of_items(cls, items: list[Any], *, is_complete: bool) -> Outcome:
        """Of a stream, as far as it was collected."""
        more = "" if is_complete else ", and there is more"
        return cls(result={"items": items, "is_complete": is_complete}, said=f"items: {len(items)}{more}")


class Backend(Protocol):
    """Carries out calls.

    Attributes:
        supplies: Whether it fills in what a tool says is `supplied`; callers then need not know of it.
    """

    supplies: bool

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, progress: Progress, request: Any
    ) -> Outcome:
        """Carry one out. `request` is the HTTP request it came with, if any.

        Raises:
            EnvmgrError: It failed.
        """
        ...
