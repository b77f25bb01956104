"""How services stand, and how to say that one did not come up."""

from __future__ import annotations

from dataclasses import dataclass

from envmgr.errors import Unavailable
from envmgr.model.probe import Readiness, Startup
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held

_DEADLINE_S = 60.0


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
    deadlines = [look.deadline_s for look in (service.startup, service.ready) if look is not None]
    return sum(deadlines) or _DEADLINE_S


def how(service: ServiceSpec, held: Held) -> str:
    """How a unit ended, for people."""
    if held.error:
        return held.error
    if held.over_limit:
        return f"was ended: {held.over_limit}"
    if held.out_of_memory:
        limit = service.limits.memory_bytes
        return f"ran out of memory: its limit is {limit // 2**20} MB" if limit else "ran out of memory"
    if held.exit_code is None and not held.exit_signal:
        return "ended: its container was removed" if service.container else "ended, and nobody saw how"
    return f"ended with {f'signal {held.exit_signal}' if held.exit_signal else f'status {held.exit_code}'}"


def with_name(unit: str, failure: str) -> str:
    """A failure that says whose it is, once."""
    return failure if failure.startswith(f"{unit} ") else f"{unit}: {failure}"


def last_words(log: str) -> str:
    """The last line of a log, ready to be put behind a reason; empty without one."""
    return f"; its last words: {log.splitlines()[-1].strip()}" if log.strip() else ""


def ended(agent: str, service: ServiceSpec, held: Held, log: str) -> ServiceFailed:
    """The error for a unit that ended too early, or not well; `log` is the end of its output."""
    what = how(service, held)
    if service.kind is not ServiceKind.TASK:
        early = "ended before it was ready"
        what = what.replace("ended", early, 1) if what.startswith("ended") else f"{early}: it {what}"
    hint = f"Read its log with `envmgr logs {agent} {service.name}`, then mend the command."
    if held.over_limit and not held.over_limit.startswith("over its memory"):
        hint = f"Raise the limit of {service.name} in the template, or make it need less."
    elif held.out_of_memory or held.over_limit:
        hint = f"Raise `limits.memory` of {service.name} in the template, or make it need less."
    return ServiceFailed(
        f"{service.name} {what}{last_words(log)}",
        hint=hint,
        details={"service": service.name, "exit_code": held.exit_code, "log": log},
    )


def never_ready(
    agent: str, service: ServiceSpec, look: Startup | Readiness, why: str, log: str
) -> ServiceFailed:
    """The error for a unit that did not come up in time; `why` is what its probe saw last."""
    what, key = ("started", "startup") if isinstance(look, Startup) else ("ready", "ready")
    return ServiceFailed(
        f"{service.name} was not {what} within {look.deadline_s:g} s: {why}{last_words(log)}",
        hint=f"Look at `envmgr logs {agent} {service.name}`; mend it, or raise `{key}.deadline`.",
        details={"log": log},
    )


def never_ended(task: ServiceSpec, log: str) -> ServiceFailed:
    """The error for a task that takes too long."""
    return ServiceFailed(
        f"task {task.name} did not end within {task.timeout_s:g} s",
        hint="Raise its `timeout`.",
        details={"log": log},
    )


def unexecuted(service: ServiceSpec, held: Held) -> ServiceFailed:
    """The error for a unit whose program could not be started."""
    return ServiceFailed(
        f"{service.name} could not be executed: {held.error}",
        hint="Install the program, or mend `command` and `cwd` in the template.",
    )
