"""The call that is being answered: who asked for what. Set by whoever performs an operation, read by the services.

It is bound to the running task and what that starts, so nobody has to pass it on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from envmgr.model.principal import DAEMON, Principal


@dataclass(slots=True, kw_only=True)
class Call:
    """One operation asked for by somebody.

    Attributes:
        operation: Name in the registry, such as `lock.acquire`; of the daemon's own acts such as `lock.expire`.
        params: What was asked, as plain JSON, not yet redacted.
        request: Id of the request; the caller's if it gave one.
        at: Unix time.
        target: What it is about, for the audit trail; a service may set it inside of its transaction.
        result: What came of it, for the audit trail; likewise.
        is_written: Whether its row of the audit trail is (about to be) written.
    """

    principal: Principal
    operation: str
    params: Mapping[str, object] = field(default_factory=dict)
    request: str = ""
    at: float = 0.0
    target: str = ""
    result: dict[str, object] = field(default_factory=dict)
    is_written: bool = False


_current: ContextVar[Call | None] = ContextVar("envmgr_call", default=None)


def current() -> Call | None:
    """The call that is being answered; None in the daemon's own work."""
    return _current.get()


def principal() -> Principal:
    """Who asks; the daemon itself when nobody does."""
    call = _current.get()
    return call.principal if call else DAEMON


@contextmanager
def answering(call: Call) -> Iterator[Call]:
    """Everything inside happens because of the call."""
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)
