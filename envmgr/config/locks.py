"""Settings of locks."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

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

    ttl_s: Annotated[float, Field(ge=1, le=28_800)] = 300.0
    """Seconds a lock lasts without a sign of life of its holder, when nobody says how long."""
    grace_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """Seconds after that in which nobody else gets it, and its holder may still renew it."""
    look_every_s: Annotated[float, Field(ge=0.02, le=60)] = 0.5
    """Seconds between two looks at who holds locks and whether they still live."""
    renew_every_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """Seconds after which signs of life are written down, so that they survive the daemon."""
    age_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """Seconds of waiting for a lock that count like the next better class of priority."""
    rules: tuple[Annotated[str, AfterValidator(_rule)], ...] = ()
    """`PATHS -> KEY`: who locks such files locks this key, too, in every repository that says nothing else."""
