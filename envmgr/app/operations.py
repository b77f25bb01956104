"""The registry: each operation is declared once, and every face is made from it.

A face reads `OPERATIONS` (or the manifest generated from it) and adds rendering only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from envmgr.app.sayable import refuse_huge, refuse_unsayable
from envmgr.app.shapes import Ask, View
from envmgr.app.wording import place, wrong
from envmgr.errors import Invalid
from envmgr.model.principal import Scope

if TYPE_CHECKING:
    from envmgr.app.text import Style


class Touch(StrEnum):
    """What an operation does to the world; `destroy` needs a yes."""

    READ = "read"
    WRITE = "write"
    DESTROY = "destroy"


# Any: takes and gives differ per operation, and some yield; pydantic checks both at the edge.
Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
Render = Callable[[Any, "Style"], str]
Status = Callable[[Any], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing envmgr can be asked to do.

    Attributes:
        name: Dotted, stable.
        route: HTTP method and path; `{x}` are fields of `takes`.
        command: Words of the CLI command; empty withholds it from the CLI.
        also: Other words for the same command.
        stream: The handler yields items; the last one is the result.
        is_local: Needs no daemon: the CLI runs it in its own process.
        text: How a person sees the result (or one item).
        status: Exit status of the command for a result; of a stream for its last item.
        scope: What a key must be good for to call it.
        tool: Its name among the MCP tools.
        is_compact: In the set of MCP tools that assistants get when nobody asks for more.
        is_open: Needs no key.
        waits: The field of `takes` by which it may wait; it is cancelled when its asker is gone. Empty: it never is.
    """

    name: str
    summary: str
    doc: str
    takes: type[Ask]
    gives: type[View]
    touch: Touch
    route: tuple[str, str]
    command: tuple[str, ...]
    stream: bool
    is_local: bool
    handler: Handler
    text: Render
    status: Status
    scope: str
    tool: str
    is_compact: bool = False
    is_open: bool = False
    waits: str = ""
    also: tuple[str, ...] = ()


def well(result: Any) -> int:  # Any: the operation's model
    """0, or 1 for a result that says itself that something is wrong."""
    return 0 if getattr(result, "ok", True) else 1


OPERATIONS: dict[str, Operation] = {}
_SCOPES = {Touch.READ: Scope.READ, Touch.WRITE: Scope.OPERATE, Touch.DESTROY: Scope.DESTROY}


def parse(op: Operation, given: Mapping[str, object]) -> Ask:
    """What an operation takes, from untyped values.

    Raises:
        Invalid: A field is missing, unknown or wrong; the hint names the known ones.
    """
    refuse_unsayable(given)
    try:
        asked = op.takes.model_validate(given)
    except ValidationError as error:
        known = ", ".join(op.takes.model_fields)
        raise Invalid(
            wrong(error, op.takes), hint=f"{op.name} takes: {known}.", details={"at": place(error)}
        ) from error
    refuse_huge(asked)
    return asked


def operation(
    name: str,
    *,
    route: str,
    gives: type[View],
    text: Render,
    touch: Touch = Touch.READ,
    command: str = "",
    also: str = "",
    is_local: bool = False,
    status: Status = well,
    scope: str = "",
    tool: str = "",
    is_compact: bool = False,
    is_open: bool = False,
    waits: str = "",
) -> Callable[[H], H]:
    """Declare the decorated handler as an operation; its docstring becomes the help text.

    Args:
        route: Such as `POST /api/v1/agents/{agent}/stop`.
        command: CLI words, such as `template list`.
        status: Exit status of the command for a result that is no failure and yet no success, such as a finding.
        also: Other words that people look for.
        scope: When left out, it follows from `touch`.
        tool: When left out, the name with underscores.
        waits: Such as `wait_s`.
    """

    def declare(handler: H) -> H:
        takes = next(iter(inspect.signature(handler, eval_str=True).parameters.values())).annotation
        doc = inspect.getdoc(handler) or ""
        method, path = route.split(" ", 1)
        if name in OPERATIONS:
            raise ValueError(f"operation {name} is declared twice")
        OPERATIONS[name] = Operation(
            name=name,
            summary=doc.splitlines()[0],
            doc=doc,
            takes=takes,
            gives=gives,
            touch=touch,
            route=(method, path),
            command=tuple(command.split()),
            also=tuple(also.split()),
            stream=inspect.isasyncgenfunction(handler),
            is_local=is_local,
            handler=handler,
            text=text,
            status=status,
            scope=scope or _SCOPES[touch],
            tool=tool or name.replace(".", "_").replace("-", "_"),
            is_compact=is_compact,
            is_open=is_open,
            waits=waits,
        )
        return handler

    return declare
