"""Settings of the HTTP interface."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field, model_validator

from envmgr.config.fields import Strict


class Http(Strict):
    """HTTP on TCP, beside the daemon's Unix socket."""

    listen: str = ""
    """`HOST:PORT` such as `127.0.0.1:8750`; empty: on the Unix socket only."""
    allow_remote: bool = False
    """Let `listen` be an address that other machines reach; put a reverse proxy with TLS before it."""
    names: tuple[str, ...] = ()
    """Names that `Host` may say besides those of the loopback; such as the one the reverse proxy is reached by."""
    origins: tuple[str, ...] = ()
    """Web pages that may ask, such as `https://board.example.org`; all others are refused."""
    max_body_bytes: Annotated[int, Field(ge=2**16, le=2**30)] = 4 * 2**20
    """Most that is read of one request."""
    at_once: Annotated[int, Field(ge=1)] = 256
    """Requests of one key that may be under way at the same time."""
    per_s: Annotated[float, Field(ge=0)] = 1000.0
    """Requests of one key in a second, on the average; twice as many may come at once. 0: no limit."""

    @model_validator(mode="after")
    def _is_an_address(self) -> Http:
        if not self.listen:
            return self
        host, colon, port = self.listen.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"listen: {self.listen!r} is not HOST:PORT, such as 127.0.0.1:8750")
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            raise ValueError(f"listen: {host!r} is not an address, such as 127.0.0.1 or [::1]") from None
        if not address.is_loopback and not self.allow_remote:
            raise ValueError(f"listen: other machines reach {host}; say allow_remote = true if that is meant")
        return self
