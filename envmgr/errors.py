"""The errors envmgr raises: what happened, and the next move.

`message` says what happened, `hint` what to do; neither holds a traceback, a secret or a home path.
`code` is stable and machine-readable; `exit` and `http` are what the faces answer with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class EnvmgrError(Exception):
    """Base of all expected failures.

    Attributes:
        message: What happened, one sentence, no trailing full stop needed.
        hint: What the reader can do next; empty only when there is nothing to do.
        details: JSON-able facts for programs, such as file, line and survivors.
    """

    code: ClassVar[str] = "internal"
    exit: ClassVar[int] = 1
    http: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: Mapping[str, object] = dict(details or {})

    def problem(self, *, request: str = "") -> dict[str, object]:
        """The problem document: the same on HTTP, `--json` and later MCP."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": dict(self.details),
            "request": request,
        }


class UsageError(EnvmgrError):
    """The call itself is wrong."""

    code, exit, http = "usage", 2, 400


class Invalid(UsageError):
    """A field is missing, unknown, or of a wrong form or range."""

    code, http = "usage.invalid", 422


class WrongMethod(UsageError):
    """The path is known, and this cannot be done with it."""

    code, http = "usage.method", 405


class TooLarge(UsageError):
    """More than is read of one request."""

    code, http = "usage.too_large", 413


class WrongContent(UsageError):
    """What was sent is of a form that is not understood here."""

    code, http = "usage.content", 415


class ConfigError(EnvmgrError):
    """A template, setting or repository cannot be used as it is."""

    code, exit, http = "config", 3, 422


class NotFound(EnvmgrError):
    """No such thing."""

    code, exit, http = "not_found", 4, 404


class NoSuchRoute(NotFound):
    """Nothing is served there."""

    code = "not_found.route"


class Conflict(EnvmgrError):
    """Somebody or something else has it."""

    code, exit, http = "conflict", 5, 409


class StaleState(Conflict):
    """The record changed between reading and writing it."""

    code, retryable = "conflict.stale", True


class PortTaken(Conflict):
    """Somebody else has a service's port."""

    code = "conflict.port"

    @classmethod
    def by(cls, owner: str, *, port: int) -> PortTaken:
        """The error that names the port and who has it."""
        return cls(
            f"port {port} is taken by {owner}",
            hint="End that process, or drop `fixed` from the port so that another one is chosen.",
            details={"port": port, "owner": owner},
        )

    @property
    def port(self) -> int:
        """The port's number; 0 when the details do not say."""
        return int(str(self.details.get("port", 0)))


class IllegalTransition(Conflict):
    """The request does not fit the state."""

    code = "conflict.state"


class Denied(EnvmgrError):
    """Not allowed."""

    code, exit, http = "denied", 6, 403


class Unauthenticated(Denied):
    """Who asks is not known: there is no key, or it is wrong, revoked or expired."""

    code, http = "denied.key", 401


class BudgetExhausted(EnvmgrError):
    """What is allowed within a window is used up; `details` say when there is more, as `retry_after_s`."""

    code, exit, http, retryable = "budget", 9, 429, True


class Unavailable(EnvmgrError):
    """A system that is needed does not answer, or refuses."""

    code, exit, http, retryable = "unavailable", 7, 503, True


class Unobservable(Unavailable):
    """A system gave no answer, so nothing can be said about its state."""

    code = "unavailable.unknown"


class SpawnRolledBack(EnvmgrError):
    """A spawn failed and what it had made was taken back."""

    code, exit, http = "spawn.rolled_back", 8, 424


class ApplyFailed(EnvmgrError):
    """A plan was carried out in part; `details` say what was done and what was not."""

    code, exit, http = "apply.failed", 8, 424


class StopFailed(EnvmgrError):
    """A stop ended with survivors, named in `details`."""

    code, exit, http, retryable = "stop.failed", 8, 424, True

    @property
    def left(self) -> Mapping[str, list[str]]:
        """Who survived, by service, as far as that is known."""
        found = self.details.get("left")
        return found if isinstance(found, dict) else {}


_BY_CODE: dict[str, type[EnvmgrError]] = {}


def _index(kind: type[EnvmgrError]) -> None:
    _BY_CODE[kind.code] = kind
    for child in kind.__subclasses__():
        _index(child)


_index(EnvmgrError)


def from_problem(document: Mapping[str, object]) -> EnvmgrError:
    """Rebuild the error that a problem document describes; an unknown code becomes the base class."""
    kind = _BY_CODE.get(str(document.get("code", "")), EnvmgrError)
    details = document.get("details")
    return kind(
        str(document.get("message", "unknown failure")),
        hint=str(document.get("hint", "")),
        details=details if isinstance(details, Mapping) else None,
    )
