"""Trouble of many agents at once is one trouble of the host: one is mended first, then two at a time; and when to let it be.

Pure; times are those of a steady clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

WINDOW_S = 60.0
_MANY = 3
_FEW, _SHARE = 2, 0.3
_AT_ONCE = 2
_NEXT_CANARY_S, _CANARY_CAP_S = 10.0, 300.0
_OPEN_TOO_LONG_S = 600.0
_PERSONS, _PERSONS_S = 3, 600.0
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """An agent was seen with a class of failures."""

    agent: str
    failure: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The breaker of the whole host.

    Attributes:
        noticed: Of the last minute.
        failure: The class that many have; empty while closed.
        canary: Agent that is mended first; empty when none is, yet.
        is_proven: The canary was mended, so that the others follow.
        next_at: No new canary before.
        losses: Canaries that were not mended.
        followed: Agents a measure was taken for once the canary was well.
    """

    noticed: tuple[Noticed, ...] = ()
    failure: str = ""
    opened_at: float = 0.0
    canary: str = ""
    is_proven: bool = False
    next_at: float = 0.0
    losses: int = 0
    followed: tuple[str, ...] = ()

    def refuses(self, agent: str, climbing: Collection[str], now: float) -> str:
        """Why this agent has to wait; empty when it may be mended now."""
        if not self.failure or agent == self.canary:
            return ""
        if self.is_proven:
            others = [one for one in climbing if one != agent]
            return (
                f"two others are mended first ({self.failure} in many agents)"
                if len(others) >= _AT_ONCE
                else ""
            )
        if self.canary:
            return f"many agents have the same trouble ({self.failure}), and another one is mended first"
        if now < self.next_at:
            return f"many agents have the same trouble ({self.failure}); the next try is in {self.next_at - now:.0f} s"
        return ""


def notice(fleet: Fleet, seen: Noticed, *, agents: int) -> Fleet:
    """One agent shows a failure; `agents` is how many there are in all."""
    kept = [n for n in fleet.noticed if n.at > seen.at - WINDOW_S]
    kept = [n for n in kept if (n.agent, n.failure) != (seen.agent, seen.failure)]
    fleet = replace(fleet, noticed=(*kept, seen))
    if fleet.failure:
        return fleet
    same = sum(n.failure == seen.failure for n in fleet.noticed)
    if same >= _MANY or (same >= _FEW and same >= _SHARE * agents):
        return replace(fleet, failure=seen.failure, opened_at=seen.at)
    return fleet


def goes(fleet: Fleet, agent: str) -> Fleet:
    """An agent that was not refused is mended; without a canary it becomes it."""
    if fleet.failure and not fleet.canary:
        return replace(fleet, canary=agent)
    if fleet.is_proven and agent not in fleet.followed:
        return replace(fleet, followed=(*fleet.followed, agent))
    return fleet


def is_counted(fleet: Fleet, agent: str, failure: str) -> bool:
    """Whether a measure counts towards what is too much.

    Once the canary is well, the first measure of each other agent does not: what can be mended and is mended once per agent is no
    loop, however many they are.
    """
    return not fleet.is_proven or failure != fleet.failure or agent in (fleet.canary, *fleet.followed)


def proven(fleet: Fleet, agent: str) -> Fleet:
    """It has been well for long enough."""
    return replace(fleet, is_proven=True) if fleet.failure and agent == fleet.canary else fleet


def lost(fleet: Fleet, agent: str, now: float) -> Fleet:
    """The canary was not mended, or is gone: another one, after a pause."""
    if not fleet.failure or agent != fleet.canary or fleet.is_proven:
        return fleet
    pause_s = min(_CANARY_CAP_S, _NEXT_CANARY_S * 2**fleet.losses)
    return replace(fleet, canary="", next_at=now + pause_s, losses=fleet.losses + 1)


def settled(fleet: Fleet, ailing: Collection[str], now: float) -> Fleet:
    """Closed again once nobody has that trouble any more and nobody has shown it for a minute."""
    if (
        not fleet.failure
        or ailing
        or any(n.failure == fleet.failure and n.at > now - WINDOW_S for n in fleet.noticed)
    ):
        return fleet
    return Fleet()


def is_too_much(
    fleet: Fleet, persons: Sequence[tuple[str, float]], acts: Sequence[float], *, per_hour: int, now: float
) -> str:
    """Why nothing more may be done by itself on this host; empty when it may.

    Args:
        persons: For which agent a person was asked, and when, lately.
        acts: When a measure that counts was taken, lately.
    """
    if fleet.failure and now - fleet.opened_at > _OPEN_TOO_LONG_S:
        return f"many agents have had the same trouble ({fleet.failure}) for more than 10 min"
    if len({agent for agent, at in persons if at > now - _PERSONS_S}) >= _PERSONS:
        return f"{_PERSONS} agents within 10 min need a person"
    if sum(at > now - _HOUR_S for at in acts) >= per_hour:
        return f"{per_hour} measures within an hour"
    return ""
