"""What recovery remembers in the store besides incidents: measures taken, breakers, safe mode. A restart of the daemon refills nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from envmgr.core.breaker import Breaker
from envmgr.core.fleet import Fleet, Noticed
from envmgr.core.ladder import Act
from envmgr.model.ids import AgentId
from envmgr.model.incident import Rung
from envmgr.protocols.store import Transaction

_HOST = "recovery/host"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeMode:
    """Nothing is done by itself. `until` is steady time, None: until a person says so; `since` is Unix time for people."""

    reason: str
    since: float
    until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """Of the whole host; times are steady.

    Attributes:
        acts: When measures were taken, of the last hour.
        persons: For which agents persons were asked, and when, lately.
        breakers: By system.
    """

    acts: tuple[float, ...] = ()
    persons: tuple[tuple[str, float], ...] = ()
    fleet: Fleet = Fleet()
    breakers: Mapping[str, Breaker] = field(default_factory=dict)
    safe: SafeMode | None = None


def acts(tx: Transaction, agent: AgentId) -> tuple[Act, ...]:
    """Automatic measures of an agent, oldest first."""
    text = tx.get(_key(agent))
    return tuple(
        Act(rung=Rung(rung), at=at, subject=subject) for rung, at, subject in json.loads(text or "[]")
    )


def write_acts(tx: Transaction, agent: AgentId, taken: Sequence[Act]) -> None:
    """Replace them."""
    tx.put(_key(agent), json.dumps([[int(act.rung), act.at, act.subject] for act in taken]))


def forget(tx: Transaction, agent: AgentId) -> None:
    """A person refills the budgets, or the agent is gone."""
    tx.drop(_key(agent))


def forget_others(tx: Transaction) -> None:
    """Agents that are no more need no budgets."""
    known = {_key(record.state.id) for record in tx.agents()}
    for key in tx.under(_key(AgentId(""))):
        if key not in known:
            tx.drop(key)


def host(tx: Transaction) -> HostState:
    """Of the host."""
    text = tx.get(_HOST)
    return _host(json.loads(text)) if text else HostState()


def write_host(tx: Transaction, state: HostState) -> None:
    """Replace it."""
    tx.put(_HOST, json.dumps(asdict(state)))


def _host(said: Mapping[str, Any]) -> HostState:
    fleet = dict(said["fleet"])
    noticed = tuple(Noticed(**one) for one in fleet.pop("noticed"))
    followed = tuple(fleet.pop("followed", ()))
    breakers = {
        name: Breaker(**{**one, "failures": tuple(one["failures"])}) for name, one in said["breakers"].items()
    }
    return HostState(
        acts=tuple(said["acts"]),
        persons=tuple(tuple(one) for one in said["persons"] if isinstance(one, list)),
        fleet=Fleet(**fleet, noticed=noticed, followed=followed),
        breakers=breakers,
        safe=SafeMode(**said["safe"]) if said["safe"] else None,
    )


def _key(agent: AgentId) -> str:
    return f"recovery/acts/{agent}"
