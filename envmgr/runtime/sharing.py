"""Shared services as everybody sees them: which instance it is, who holds it, where it listens and logs.

The one instance of a repository's shared service is an incarnation that no agent owns: it has an id, a private folder with a
keeper, ports, containers and volumes of its own. What is durable is one setting, `shared/<id>`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from envmgr.core import sharing
from envmgr.model.ids import AgentId
from envmgr.model.observe import ProcessIdentity
from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AssistantSpec, Hooks
from envmgr.protocols.processes import Marks
from envmgr.protocols.store import Transaction
from envmgr.protocols.workspaces import Worktree
from envmgr.runtime.incarnation import Incarnation

_PREFIX = "shared/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What is recorded of one.

    Attributes:
        repo: The main checkout.
        digest: Of the definition it runs by.
        holders: Ids of the agents that use it.
        is_up: False only when it has surely ended, or was never started.
        in_container: Whether the engine runs it.
        keeps: Whether it has volumes, which stay.
        signal, grace_s: How it is stopped when no agent is left that knows.
    """

    id: AgentId
    service: str
    repo: str
    digest: str
    holders: tuple[str, ...] = ()
    is_up: bool = True
    in_container: bool = False
    keeps: bool = False
    signal: str = "SIGTERM"
    grace_s: float = 10.0


class Common(Incarnation):
    """The incarnation of a shared service. It works in the main checkout, among the person's own processes."""

    __slots__ = ()

    def marks(self, *roots: ProcessIdentity, part: str = "") -> Marks:
        """Working in the main checkout proves nothing: only the marker together with a port, or descent, does."""
        return Marks(roots=roots, marker=self.marker(part), cwd=self.home, ports=tuple(self.ports.values()))


def shared_services(inc: Incarnation) -> tuple[ServiceSpec, ...]:
    """Those of the agent's services that it shares with others."""
    return tuple(service for service in inc.services if service.is_shared)


def common(inc: Incarnation, service: ServiceSpec) -> Common:
    """The instance that this agent's service stands for."""
    own = replace(sharing.alone(service), name=service.name)
    spec = replace(
        inc.spec,
        name=service.name,
        services=(own,),
        assistant=AssistantSpec(),
        hooks=Hooks(),
        origin=None,
    )
    made = Common(
        id=sharing.shared_id(str(inc.repo.common_dir), service.name),
        name=f"{service.name} (shared)",
        generation=1,
        spec=spec,
        repo=inc.repo,
        instance=inc.instance,
        layout=inc.layout,
        systems=inc.systems,
        environment=inc.environment,
        worktree=Worktree(path=inc.repo.root, branch="", base=""),
    )
    known = {(name, port): number for (name, port), number in inc.ports.items() if name == service.name}
    made.ports.update(known)
    return made


def runs_in(inc: Incarnation, service: ServiceSpec) -> Incarnation:
    """The incarnation under which a unit runs: the agent's own, or the shared one."""
    return common(inc, service) if service.is_shared else inc


def log(inc: Incarnation, service: ServiceSpec) -> Path:
    """The current log file of a unit."""
    return runs_in(inc, service).home / "logs" / f"{service.name}.log"


def leased(tx: Transaction, inc: Incarnation) -> Mapping[tuple[str, str], int]:
    """Ports of the shared services that this agent holds."""
    found: dict[tuple[str, str], int] = {}
    for service in shared_services(inc):
        share = read(tx, common(inc, service).id)
        if share is not None and inc.id in share.holders:
            found |= held(tx, share.id)
    return found


def held(tx: Transaction, shared: AgentId) -> Mapping[tuple[str, str], int]:
    """Ports of one that runs."""
    return {(lease.service, lease.name): lease.port for lease in tx.leases(shared) if lease.held}


def read(tx: Transaction, shared: AgentId) -> Share | None:
    """One, if it is known."""
    said = tx.get(_PREFIX + shared)
    return None if said is None else _share(said)


def write(tx: Transaction, share: Share) -> None:
    """Record it."""
    tx.put(_PREFIX + share.id, json.dumps(asdict(share)))


def forget(tx: Transaction, shared: AgentId) -> None:
    """Nothing of it is left."""
    tx.drop(_PREFIX + shared)


def everything(tx: Transaction) -> Sequence[Share]:
    """All that were ever started on this host."""
    return [_share(said) for said in tx.under(_PREFIX).values()]


def _share(said: str) -> Share:
    fields = json.loads(said)
    return Share(**{**fields, "holders": tuple(fields["holders"])})
