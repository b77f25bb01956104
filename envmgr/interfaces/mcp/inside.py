"""Carries tool calls out in the daemon's own process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import anyio

from envmgr.app.calling import perform, stream, turned_away
from envmgr.app.context import App
from envmgr.app.operations import Operation, parse
from envmgr.app.registry import OPERATIONS
from envmgr.app.saying import said
from envmgr.app.shapes import Ask, nameless
from envmgr.errors import EnvmgrError
from envmgr.interfaces.mcp.backend import LONGEST_S, MOST_ITEMS, Outcome, Progress
from envmgr.interfaces.mcp.catalogue import Tool
from envmgr.model.principal import Principal

# Any throughout: arguments and results are JSON.


class Inside:
    """A backend without a way to go. Who asks was found out by the door, and stands in the request's scope."""

    supplies = False

    def __init__(self, app: App) -> None:
        self._app = app

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, progress: Progress, request: Any
    ) -> Outcome:
        op = OPERATIONS[tool.operation]
        principal: Principal = request.scope["principal"]
        try:
            ask = parse(op, nameless(op.takes, dict(arguments)))
        except EnvmgrError as error:
            turned_away(op, self._app, error, principal=principal)
            raise
        if op.stream:
            return await self._collected(op, ask, principal, progress)
        # What changes something ends what it has begun, whoever has left; only waiting is given up.
        with anyio.CancelScope(shield=not (op.waits and getattr(ask, op.waits))):
            result = await perform(op, ask, self._app, principal=principal)
        return Outcome(result=result.model_dump(mode="json", by_alias=True), said=said(op, result))

    async def _collected(self, op: Operation, ask: Ask, principal: Principal, progress: Progress) -> Outcome:
        items: list[Any] = []
        is_complete = False
        with anyio.move_on_after(LONGEST_S):
            source: Any = stream(op, ask, self._app, principal=principal)
            async with aclosing(source) as found:
                async for item in found:
                    items.append(item.model_dump(mode="json", by_alias=True))
                    await progress(len(items), said(op, item))
                    if len(items) >= MOST_ITEMS:
                        break
                else:
                    is_complete = True
        return Outcome.of_items(items, is_complete=is_complete)
