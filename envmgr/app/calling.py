"""Perform an operation for somebody: the one way in, whichever face the call came through."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from envmgr.app.context import App
from envmgr.app.operations import Operation
from envmgr.app.shapes import Ask
from envmgr.errors import Denied
from envmgr.model.principal import Principal
from envmgr.services.calls import Call, answering


def permit(op: Operation, principal: Principal) -> None:
    """Raises Denied unless the principal may call the operation."""
    if not op.is_open and not principal.may(op.scope):
        raise Denied(
            f"{principal.name} may not call {op.name}: its key lacks the scope {op.scope}",
            hint="Ask a person to do it, or to give the key that scope.",
            details={"scope": op.scope, "scopes": sorted(principal.scopes)},
        )


# Any: results differ per operation.
async def perform(op: Operation, ask: Ask, app: App, *, principal: Principal, request: str = "") -> Any:
    """Run an operation that is no stream and return its result.

    Raises:
        Denied: The principal may not.
        EnvmgrError: As the operation says.
    """
    with answering(_call(op, ask, principal, request)):
        permit(op, principal)
        return await op.handler(ask, app)


async def stream(
    op: Operation, ask: Ask, app: App, *, principal: Principal, request: str = ""
) -> AsyncIterator[Any]:
    """Run a streaming operation and yield its items. Raises as `perform`."""
    call = _call(op, ask, principal, request)
    with answering(call):
        permit(op, principal)
        items = op.handler(ask, app)
    try:
        while True:
            with answering(call):
                item = await anext(items, None)
            if item is None:
                return
            yield item
    finally:
        await items.aclose()


def _call(op: Operation, ask: Ask, principal: Principal, request: str) -> Call:
    return Call(
        principal=principal,
        operation=op.name,
        params=ask.model_dump(mode="json", exclude_unset=True, exclude={"environment"}),
        request=request or secrets.token_hex(8),
        at=time.time(),
    )
