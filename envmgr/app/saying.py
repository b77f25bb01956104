"""A result in one line."""

from __future__ import annotations

from pydantic import BaseModel

from envmgr.app.briefs import brief
from envmgr.app.operations import Operation
from envmgr.app.text import Style, clean

_LONGEST = 600
_PLAIN = Style(width=_LONGEST, unicode=False)


def said(op: Operation, result: BaseModel) -> str:
    """What is made for it, else what people see if that is one line, else how many things there are, else the first line."""
    if made := " ".join(brief(result).split()):
        return clean(made)[:_LONGEST]
    lines = [line for line in op.text(result, _PLAIN).splitlines() if line.strip()]
    if len(lines) == 1:
        return lines[0].strip()[:_LONGEST]
    for name in type(result).model_fields:
        value = getattr(result, name)
        if isinstance(value, list):
            return f"{name}: {len(value)}"
    return lines[0].strip()[:_LONGEST] if lines else f"{op.name}: done"
