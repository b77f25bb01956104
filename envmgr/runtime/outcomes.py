"""How services stand, and how to say that one did not come up."""

from __future__ import annotations

from dataclasses import dataclass

from envmgr.errors import Unavailable
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where a service stands. `detail` says why it failed or what it waits for."""

    state: ServiceState
    detail: str = ""


class ServiceFailed(Unavailable):
    """A service did not come up."""

    code = "unavailable.service"


def start_deadline(service: ServiceSpec) -> float:
    """Seconds after which a start that is not ready (or a task that has not ended) has failed."""
    if service.kind is ServiceKind.TASK:
        return service.timeout_s
    return service.ready.deadline_s if service.ready else 60.0


def ended(agent: str, service: ServiceSpec, held: Held, log: str) -> ServiceFailed:
    """The error for a unit that ended too early, or not well; `log` is the end of its output."""
    how = f"signal {held.exit_signal}" if held.exit_signal else f"status {held.exit_code}"
    when = "ended" if service.kind is ServiceKind.TASK else "ended before it was ready"
    last = f"; its last words: {log.splitlines()[-1].strip()}" if log.strip() else ""
    return ServiceFailed(
        f"{service.name} {when} with {how}{last}",
        hint=f"Read its log with `envmgr logs {agent} {service.name}`, then mend the command.",
        details={"service": service.name, "exit_code": held.exit_code, "log": log},
    )
