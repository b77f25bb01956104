"""Settings of locks."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from envmgr.config.fields import Strict
from envmgr.core.derived_keys import parse_rule
from envmgr.errors import UsageError


def _rule(text: str) -> str:
    """Raises ValueError unless it is one."""
    try:
        parse_rule(text)
    except UsageError as error:
        raise ValueError(error.message) from error
    return text


class Locks(Strict):
    """Files and keys that agents hold."""

    rules: tuple[Annotated[str, AfterValidator(_rule)], ...] = ()
    """`PATHS -> KEY`: who locks such files locks this key, too, in every repository that says nothing else."""
