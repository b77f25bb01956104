"""What must not stand in anything that is kept: values of secrets, as far as they can be known now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import anyio

from envmgr.core.masking import is_secret_name
from envmgr.errors import EnvmgrError
from envmgr.runtime.incarnation import Incarnation

_LEAST_NAMED_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """To be masked by.

    Attributes:
        unknown: Why those of the template's secrets are not among them, as after a restart of the daemon; empty when they are.
            Then nothing is kept that programs have written themselves, for nobody could tell them there.
    """

    known: frozenset[str]
    unknown: str = ""


async def values_of(inc: Incarnation, *, within_s: float) -> Values:
    """Of the template's secrets, and of variables whose names tell: of the template and of the person."""
    named = frozenset(_named(inc))
    try:
        with anyio.fail_after(within_s):
            return Values(known=named.union((await inc.secrets()).values()))
    except EnvmgrError as error:
        reason = error.message
    except TimeoutError:
        reason = "there was no time left"
    why = f"values of secrets, which must not be kept, cannot be known: {reason}"
    return Values(known=named, unknown=why)


def _named(inc: Incarnation) -> Iterator[str]:
    """Short ones, such as `none`, would take words out of other text."""
    places: list[Mapping[str, str]] = [inc.environment, inc.spec.env]
    for variables in (*places, *(service.env for service in inc.spec.services)):
        for name, value in variables.items():
            if is_secret_name(name) and len(value) >= _LEAST_NAMED_CHARS:
                yield value
