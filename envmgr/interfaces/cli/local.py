"""Run an operation that needs no daemon in this process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from envmgr.app.operations import parse
from envmgr.app.registry import OPERATIONS, Operation
from envmgr.app.text import Style
from envmgr.bootstrap.local import local
from envmgr.errors import EnvmgrError


def run_here(name: str, asked: Mapping[str, Any], *, as_json: bool, style: str) -> int:
    """Run and print it; returns the exit status. `style` is as `Style.of` takes it."""
    return anyio.run(_run, OPERATIONS[name], asked, as_json, Style.of(style))


def template_names() -> list[str]:
    """For completion; empty when the templates here cannot be listed."""
    try:
        listing = local().templates.listing(Path.cwd())
    except EnvmgrError:
        return []
    return [entry.name for entry in listing if not entry.is_shadowed]


async def _run(op: Operation, asked: Mapping[str, Any], as_json: bool, look: Style) -> int:  # noqa: FBT001 - anyio.run
    app = local()
    ask = parse(op, asked)
    if op.stream:
        async for item in op.handler(ask, app):
            _show(op, item, as_json=as_json, look=look)
        return 0
    result = await op.handler(ask, app)
    _show(op, result, as_json=as_json, look=look)
    return op.status(result)


def _show(op: Operation, item: Any, *, as_json: bool, look: Style) -> None:  # Any: the operation's model
    sys.stdout.write(item.model_dump_json(by_alias=True) + "\n" if as_json else op.text(item, look))
    sys.stdout.flush()
