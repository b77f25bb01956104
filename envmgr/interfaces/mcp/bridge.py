"""Carries tool calls to the daemon. Who calls is known by the key: nothing is kept between calls."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import anyio

from envmgr.app import client
from envmgr.errors import Invalid, from_problem
from envmgr.interfaces.mcp.backend import LONGEST_S, MOST_ITEMS, Outcome, Progress
from envmgr.interfaces.mcp.catalogue import Tool
from envmgr.interfaces.mcp.wire import Answer, Gone, Wire

# Any throughout: JSON documents.


class Bridge:
    """A backend that asks the daemon over its socket."""

    supplies = True

    def __init__(self) -> None:
        # `X-Envmgr-Say` asks for the result in one line as well, in the header `x-envmgr-said`.
        self._wire = Wire({"X-Envmgr-Say": "1", **client.identity()})

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, progress: Progress, request: Any
    ) -> Outcome:
        method, path, body = asking(tool, arguments)
        try:
            return await self._ask(tool, method, path, body=body, progress=progress)
        except Gone:
            if tool.touch != "read":
                raise  # it may have been done
        return await self._ask(tool, method, path, body=body, progress=progress)

    async def _ask(
        self, tool: Tool, method: str, path: str, *, body: Mapping[str, Any] | None, progress: Progress
    ) -> Outcome:
        async with self._wire.ask(method, path, body) as answer:
            if tool.stream:
                return await _collected(answer, progress)
            result = json.loads(await answer.body())
        return Outcome(result=result, said=unquote(answer.headers.get("x-envmgr-said", "")))

    async def aclose(self) -> None:
        """Drop the connections."""
        await self._wire.aclose()


def asking(tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any] | None]:
    """Method, path with query, and body of the request.

    Raises:
        Invalid: What the path needs is missing.
    """
    rest = {key: value for key, value in arguments.items() if value is not None}
    for name, by in tool.supplied.items():
        rest.setdefault(name, str(Path.cwd()) if by == "cwd" else dict(os.environ))
    path = tool.path
    for name, names in tool.in_path.items():
        given = [str(rest.pop(other)) for other in names if other in rest]
        if not given or not given[0]:
            known = ", ".join(tool.input["properties"])
            raise Invalid(f"{name} is missing", hint=f"{tool.name} takes: {known}.")
        path = path.replace(f"{{{name}}}", quote(given[0], safe=""))
    if tool.method == "GET":
        return "GET", f"{path}?{urlencode(rest, doseq=True)}" if rest else path, None
    return tool.method, path, rest


async def _collected(answer: Answer, progress: Progress) -> Outcome:
    items: list[Any] = []
    is_complete = False
    with anyio.move_on_after(LONGEST_S):
        async for line in answer.lines():
            item = json.loads(line)
            if list(item) == ["problem"]:
                raise from_problem(item["problem"])
            items.append(item)
            await progress(len(items), _brief(item))
            if len(items) >= MOST_ITEMS:
                break
        else:
            is_complete = True
    return Outcome.of_items(items, is_complete=is_complete)


def _brief(item: Mapping[str, Any]) -> str:
    """Words of an item, for whoever watches the progress."""
    words = [str(value) for value in item.values() if isinstance(value, str) and value]
    return " ".join(words)[:200]
