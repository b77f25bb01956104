"""What of a call is recorded: without secrets, and never much."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

from envmgr.core.audit_chain import canonical
from envmgr.core.masking import MASK, is_secret_name, masked, may_hold_secrets
from envmgr.errors import Denied, EnvmgrError
from envmgr.model.audit import OK, Decision, Entry
from envmgr.services.calls import Call

_SHORT_CHARS = 512
"""Parameters up to this are looked at as one text first, and most are recorded as they are."""
_TEXT_CHARS = 240
"""So much is kept of a prompt or another free text; the rest is known by its hash."""
_LOOKED_AT_CHARS = 8192
_MOST_CHARS = 4096
_MOST_ITEMS = 50
_NOTHING = "{}"
_NUMBERED = re.compile(r'tokens?":(?:\d+|\[[\d,]*\])')
_ALLOWED, _DENIED = Decision.ALLOWED.value, Decision.DENIED.value
_TARGETS = (
    "target",
    "targets",
    "agent",
    "agents",
    "task_id",
    "file_path",
    "key",
    "name",
    "template",
    "tasks",
)


class Redaction:
    """Takes out what must not be kept.

    Args:
        known: Values of secrets; whoever learns of more adds them.
    """

    def __init__(self, known: Collection[str] = ()) -> None:
        self._known = known

    def of(self, call: Call) -> tuple[str, str, str]:
        """Target, parameters and result of a call: canonical JSON, without secrets, and short."""
        about = call.target or target(call.params)
        params = canonical(call.params) if call.params else _NOTHING
        result = canonical(call.result) if call.result else _NOTHING
        # Most calls are short and hold nothing that looks like a secret; one look tells.
        if len(params) + len(result) + len(about) <= _SHORT_CHARS and not self._may_hold_secrets(
            f"{params}{result}{about}"
        ):
            return about, params, result
        return self._word(about), self._short(call.params, params), self._short(call.result, result)

    def _may_hold_secrets(self, plain: str) -> bool:
        if not plain.isascii():
            return True  # what cannot be stored, such as half a character, is looked for with care, too
        # Tokens of locks and leases are numbers, and no secrets; texts of that name are.
        if may_hold_secrets(_NUMBERED.sub("", plain) if "token" in plain else plain):
            return True
        return any(one in plain or not _is_plain(one) for one in list(self._known))

    def _word(self, value: str) -> str:
        return self._text(value.encode("utf-8", "replace").decode())

    def _text(self, value: str) -> str:
        """Of a very long text only the beginning is looked at: nothing else of it is kept."""
        head = masked(value[:_LOOKED_AT_CHARS], self._known)
        if len(head) <= _TEXT_CHARS:
            return head
        return f"{head[:_TEXT_CHARS]}... ({len(value)} characters, sha256 {_sha256(value)})"

    def _short(self, value: Mapping[str, object], plain: str) -> str:
        short = canonical(self._cleaned(value))
        if len(short) <= _MOST_CHARS:
            return short
        return canonical({"cut": True, "sha256": _sha256(plain), "fields": sorted(value)[:_MOST_ITEMS]})

    def _cleaned(self, value: object, *, is_secret: bool = False) -> object:
        match value:
            case str():
                return MASK if is_secret and value else self._text(value)
            case Mapping():
                return {
                    masked(str(name), self._known): self._cleaned(one, is_secret=is_secret_name(str(name)))
                    for name, one in list(value.items())[:_MOST_ITEMS]
                }
            case list() | tuple():
                kept = [self._cleaned(one, is_secret=is_secret) for one in value[:_MOST_ITEMS]]
                return [*kept, f"... {len(value)} in all"] if len(value) > _MOST_ITEMS else kept
        return value


def entry(call: Call, redaction: Redaction, *, outcome: str = OK, latency_us: int | None = None) -> Entry:
    """The row of a call as far as it has come."""
    who = call.principal
    about, params, result = redaction.of(call)
    return Entry(
        int(call.at * 1e6),
        call.request,
        who.id,
        who.kind.value,
        who.name,
        who.agent,
        who.session,
        call.operation,
        about,
        _DENIED if call.is_denied else _ALLOWED,
        outcome,
        params,
        result,
        latency_us,
    )


def target(params: Mapping[str, object]) -> str:
    """What a call is about, where the service does not say: the first field that usually names it."""
    for name in _TARGETS:
        match params.get(name):
            case str() as one if one:
                return one
            case [*many] if many:
                return " ".join(str(one) for one in many[:_MOST_ITEMS])
    return ""


def failure(error: BaseException) -> str:
    """The outcome of a call that ended with an error."""
    if isinstance(error, EnvmgrError):
        return error.code
    return "internal" if isinstance(error, Exception) else "cancelled"


def is_denied(error: BaseException) -> bool:
    """Whether the call was not allowed, rather than failed."""
    return isinstance(error, Denied)


def answer(result: object) -> str:
    """The outcome of a call that was answered: an answer may say no."""
    if getattr(result, "ok", True):
        return OK
    return str(getattr(result, "reason", "") or "not_ok")


def _is_plain(value: str) -> bool:
    """JSON writes it as it is; quotes, backslashes, control characters and letters beyond ASCII it writes otherwise."""
    return value.isascii() and value.isprintable() and '"' not in value and "\\" not in value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
