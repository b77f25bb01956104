"""The call that is being answered: who asked for what. Set by whoever performs an operation, read by the services.

It is bound to the running task and what that starts, so nobody has to pass it on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
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
        outcome: What that row says of it.
        is_denied: Whoever asked was not allowed to.
        is_over: It has been answered; what goes on because of it is the daemon's own work.
        since: On the clock of `time.perf_counter`.
    """

    principal: Principal
    operation: str
    params: Mapping[str, object] = field(default_factory=dict)
    request: str = ""
    at: float = field(default_factory=time.time)
    target: str = ""
    result: dict[str, object] = field(default_factory=dict)
    is_written: bool = False
    outcome: str = ""
    is_denied: bool = False
    is_over: bool = False
    since: float = field(default_factory=time.perf_counter)


_current: ContextVar[Call | None] = ContextVar("envmgr_call", default=None)


def current() -> Call | None:
    """The call that is being answered; None in the daemon's own work."""
    call = _current.get()
    return call if call is not None and not call.is_over else None


def principal() -> Principal:
    """Who asks; the daemon itself when nobody does."""
    call = current()
    return call.principal if call else DAEMON


class answering:  # noqa: N801 - used as a verb
    """Everything inside of the block happens because of the call. Entered once."""

    # Not a generator, which would take three times as long, twice for each call.
    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = _current.set(self._call)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
