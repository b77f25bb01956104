"""What sessions are told, tell, and are judged by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from envmgr.model.principal import Principal
from envmgr.model.session import Session, SessionStatus
from envmgr.protocols.store import Transaction

_LOOKED_AT = 200
# Why tasks went back with whoever had them.
_GONE = {"task.returned": "abandoned", "task.dead": "agent_gone"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """What the settings say."""

    stale_s: float = 900.0
    every_s: float = 2.0


class Agents(Protocol):
    """What the supervisor knows of agents that it has spawned."""

    def session(self, agent: str) -> Session | None:
        """The agent's own session as it is now; None for an agent that is not there."""

    def sessions(self) -> Sequence[Session]:
        """Of all agents."""

    def must_stop(self, agent: str) -> str:
        """Why it has to stop now; empty when it has not."""


class Nobody:
    """No agents."""

    def session(self, agent: str) -> Session | None:
        """None."""
        return None

    def sessions(self) -> Sequence[Session]:
        """None."""
        return ()

    def must_stop(self, agent: str) -> str:
        """Never."""
        return ""


Warn = Callable[[Principal, str], Awaitable[Sequence[str]]]
"""(who, repository) -> what they should know now, each thing once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a session says of itself; None leaves it as it is."""

    status: SessionStatus | None = None
    current_task: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The answer to a heartbeat.

    Attributes:
        warnings: What others do that concerns it.
        messages: What has happened to it since the last time.
        must_stop: Why it has to stop; empty when it has not.
    """

    session: Session
    warnings: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    must_stop: str = ""


@dataclass(slots=True)
class Kept:
    """What is kept in memory of sessions that are not over.

    Attributes:
        abilities: What each has said that it can do.
        registered: Whose they are.
        told: The last event that each has been told of.
    """

    abilities: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    told: dict[tuple[str, str], int] = field(default_factory=dict)

    def know(self, session: Session) -> None:
        """It has registered, or is back."""
        self.abilities[session.principal, session.session] = session.capabilities
        self.registered.add(session.principal)

    def forget(self, ended: Iterable[Session]) -> None:
        """They are over; the store knows them if they come back."""
        for one in ended:
            self.abilities.pop((one.principal, one.session), None)
            self.told.pop((one.principal, one.session), None)
        self.registered &= {principal for principal, _ in self.abilities}


class Lost(NamedTuple):
    """What somebody does not have any more."""

    tasks: list[str]
    locks: list[str]


def lost_before(tx: Transaction, session: Session) -> Lost:
    """What was taken from an agent for the end of the same run: others that look for the dead may have come first."""
    lost = Lost([], [])
    if not session.life:
        return lost
    for event in tx.last_events(agent=session.principal, limit=_LOOKED_AT):
        if event.at < session.at:
            continue
        if event.kind == "lock.lost" and not str(event.data["why"]).startswith("its session"):
            lost.locks.append(str(event.data["target"]))
        if event.kind in _GONE and event.data.get("reason") == _GONE[event.kind]:
            lost.tasks.append(str(event.data["task"]))
    return lost
