"""Whose listener it is that answers on a port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from envmgr.model.observe import Present, ProcessIdentity, Seen


class Owner(StrEnum):
    """Only `foreign` fails a probe; what cannot be told never does."""

    OURS = "ours"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Whose it is, and for a foreign one who that is, such as `pid 12 (python -m http.server)`."""

    owner: Owner
    who: str = ""


OURS = Ownership(owner=Owner.OURS)
UNKNOWN = Ownership(owner=Owner.UNKNOWN)

OwnerOf = Callable[[int], Ownership]
"""Whose listener a port has. Blocking."""


def of_listener(
    port: int,
    *,
    listener: Callable[[int], Seen[ProcessIdentity]],
    is_ours: Callable[[ProcessIdentity], bool],
    name: Callable[[int], str],
) -> Ownership:
    """Judge who listens: nobody, or somebody who cannot be looked into, is `unknown`. Blocking."""
    match listener(port):
        case Present(identity) if is_ours(identity):
            return OURS
        case Present(identity):
            return Ownership(owner=Owner.FOREIGN, who=f"pid {identity.pid} ({name(identity.pid)})")
    return UNKNOWN
