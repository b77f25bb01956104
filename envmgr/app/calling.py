"""Perform an operation for somebody: the one way in, whichever face the call came through."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

from envmgr.app.context import App
from envmgr.app.operations import Operation, Touch
from envmgr.app.shapes import Ask
from envmgr.errors import Denied, EnvmgrError
from envmgr.model.principal import STRANGER, Principal, PrincipalKind
from envmgr.services.calls import Call, answering

_KEYED = (PrincipalKind.AGENT, PrincipalKind.PROGRAM)
_BEHIND = frozenset({"agent.report"})
"""Hooks of assistants wait for the answer, several a second; most of them change nothing."""


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
    call = _call(op, ask, principal, request)
    with answering(call):
        try:
            permit(op, principal)
            _note_life(app, principal, ask)
            result = await op.handler(ask, app)
        except BaseException as error:
            await _record(app, op, call, error=error)
            raise
        await _record(app, op, call, result=result)
        return result


async def stream(
    op: Operation, ask: Ask, app: App, *, principal: Principal, request: str = ""
) -> AsyncIterator[Any]:
    """Run a streaming operation and yield its items. Raises as `perform`."""
    call, item, failure = _call(op, ask, principal, request), None, None
    items = op.handler(ask, app)
    try:
        permit(op, principal)
        _note_life(app, principal, ask)
        if app.recorder is not None and op.touch is Touch.READ:
            app.recorder.begin(call)  # it may go on for days
        while True:
            with answering(call):
                following = await anext(items, None)
            if following is None:
                return
            item = following
            yield item
    except BaseException as error:
        failure = error
        raise
    finally:
        await items.aclose()
        await _record(app, op, call, result=item, error=failure)


def turned_away(
    op: Operation, app: App, error: EnvmgrError, *, principal: Principal = STRANGER, request: str = ""
) -> None:
    """Record a call that came to nothing before it was one: for want of a key, of room, or of fields that make sense."""
    if app.recorder is not None:
        call = Call(principal=principal, operation=op.name, request=request or secrets.token_hex(8))
        app.recorder.turn_away(call, error)


def _note_life(app: App, principal: Principal, ask: Ask) -> None:
    """Any call with a key is a sign of life, and so is any call of a session that has registered, with a key or not."""
    if app.coordination is None:
        return
    sessions = app.coordination.sessions
    if principal.kind in _KEYED or principal.id in sessions.registered:
        # Not `getattr`: what a model lacks takes pydantic as long as all of this.
        sessions.seen(principal.id, principal.session or vars(ask).get("session_id", ""))


async def _record(
    app: App, op: Operation, call: Call, *, result: Any = None, error: BaseException | None = None
) -> None:
    """Whoever leaves a stream that only shows things has not failed."""
    is_read = op.touch is Touch.READ
    if app.recorder is None or (
        op.stream and is_read and call.is_written and not isinstance(error, Exception)
    ):
        call.is_over = True
        return
    await app.recorder.finish(call, result=result, error=error, is_read=is_read or op.name in _BEHIND)


def _call(op: Operation, ask: Ask, principal: Principal, request: str) -> Call:
    return Call(
        principal=principal,
        operation=op.name,
        params=ask.model_dump(
            mode="json", exclude_unset=True, exclude_defaults=True, exclude={"environment"}
        ),
        request=request or secrets.token_hex(8),
    )
