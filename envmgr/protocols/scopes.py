"""Limits of the kernel for process services: a command that starts them in a control group of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """What was found at the daemon's start.

    Attributes:
        argv: `systemd-run` with what makes it a scope, without limits; empty where scopes do not work.
        env: What it needs to reach its manager, and what the service must not get by that way.
        why_not: Why they do not work here; empty when they do.
    """

    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    why_not: str = "not looked for"
