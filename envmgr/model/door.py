"""How programs may come in over HTTP."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorPolicy:
    """What is let in.

    Attributes:
        listen: `HOST:PORT` beside the Unix socket; empty for the socket alone.
        is_remote: Other machines may come, so `Host` may be any address: a page cannot make a number point elsewhere.
        names: What `Host` may say besides names of the loopback.
        origins: Pages of browsers that may ask, such as `https://board.example.org`.
        body_bytes: Most that is read of one request.
        at_once: Requests of one key that may be under way.
        per_s: Requests of one key in a second, on the average; twice as many may come at once. 0: no limit.
    """

    listen: str = ""
    is_remote: bool = False
    names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    body_bytes: int = 4 * 2**20
    at_once: int = 256
    per_s: float = 1000.0
