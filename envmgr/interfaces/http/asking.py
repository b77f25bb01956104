"""A request's path, query and body as what an operation takes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

from envmgr.app.operations import Operation, parse
from envmgr.app.shapes import Ask, nameless, names
from envmgr.errors import UsageError, WrongContent
from envmgr.interfaces.http.request import Request
from envmgr.interfaces.http.routes import Found

# Any throughout: JSON values.

_RESUMABLE = "events"


async def ask(found: Found, request: Request, *, most: int) -> Ask:
    """What is asked.

    Raises:
        UsageError: The body is no JSON object.
        Invalid: A field is wrong; named.
        TooLarge, WrongContent: The body is not read.
    """
    op = found.op
    given: dict[str, Any] = _from_query(op, request.query) if request.query else {}
    if request.method not in ("GET", "HEAD"):
        given |= _from_body(request, await request.body(most))
    given = nameless(op.takes, given)
    if op.name == _RESUMABLE and (last := request.headers.get("last-event-id")):
        given["after"] = last
    for name, value in found.values.items():
        given[name] = [value] if name in _lists(op.takes) else value
    return parse(op, given)


def _from_query(op: Operation, query: bytes) -> dict[str, Any]:
    given: dict[str, Any] = {}
    lists = _lists(op.takes)
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        given[key] = [*given.get(key, []), value] if key in lists else value
    return given


@cache
def _lists(takes: type[Ask]) -> frozenset[str]:
    """The same of fields that take several values."""
    found: set[str] = set()
    for own, field in takes.model_fields.items():
        if any(get_origin(kind) is list for kind in (field.annotation, *get_args(field.annotation))):
            found |= names(takes, own)
    return frozenset(found)


def _from_body(request: Request, body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise WrongContent(f"the body is said to be {kind[:100]}", hint="Send JSON as application/json.")
    try:
        parsed = _decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError("the body is not JSON", hint="Send a JSON object.") from error
    if not isinstance(parsed, dict):
        raise UsageError("the body is not a JSON object", hint="Send a JSON object.")
    return parsed


def _refuse(constant: str) -> None:
    """NaN and Infinity are no JSON (RFC 8259 6)."""
    raise ValueError(constant)


_decode = json.JSONDecoder(parse_constant=_refuse).decode
"""Made once: `json.loads` would make one for each request."""
