"""Services as probes and people look at them: ports, log, owner check, last words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from envmgr.aio import blocking
from envmgr.errors import PortTaken
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.protocols.keepers import Held
from envmgr.protocols.processes import Marks
from envmgr.runtime import ownership, rendering, sharing
from envmgr.runtime.answers import Answer, Subject
from envmgr.runtime.container_view import ContainerView
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.metering import Meter
from envmgr.runtime.notify import Notified
from envmgr.runtime.ownership import OURS, Owner, Ownership

_EXCERPT_BYTES = 4096
_EXCERPT_LINES = 12
_EXCERPT_S = 5.0


def subject(
    inc: Incarnation,
    service: ServiceSpec,
    held: Held | None,
    secrets: Mapping[str, str],
    *,
    notified: Notified | None = None,
    meter: Meter | None = None,
    checks_owner: bool | None = None,
) -> Subject:
    """What the probes of a service look at; the owner check is off for external services.

    Args:
        notified: Hears of the present launch while it starts; later its word stands.
        meter: Of this unit, where earlier looks count.
        checks_owner: As its probe says; None: as its readiness does.

    It is off for containers, too: the engine itself listens on their published ports, and said so when it took them.
    """

    async def execute(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        env = rendering.beside_env(inc, service, secrets)
        return await inc.systems.execute(argv, inc.path / service.cwd, env, timeout_s)

    in_container = service.container is not None
    is_ours = service.kind is not ServiceKind.EXTERNAL and not in_container
    wants_owner = service.ready is None or service.ready.owner if checks_owner is None else checks_owner
    metered = (meter or Meter(inc, service)).of(held) if service.kind is not ServiceKind.EXTERNAL else None

    async def has_said_so() -> Answer:
        is_ready = notified is None or notified.is_ready()
        return Answer(is_ready=is_ready, why="" if is_ready else "it has not said READY=1")

    return Subject(
        notified=has_said_so,
        container=ContainerView(sharing.runs_in(inc, service), service) if in_container else None,
        ports={port.name: inc.port(service.name, port.name) for port in service.ports},
        shell=service.shell,
        execute=execute,
        log=held.log if held else None,
        log_offset=_begin(held) if held else 0,
        owner_of=partial(owner_of, inc, service, held) if is_ours and wants_owner else None,
        metered=metered,
    )


def owner_of(inc: Incarnation, service: ServiceSpec, held: Held | None, port: int) -> Ownership:
    """Whose listener a port of the service has. Blocking."""
    if any(own.listen and inc.port(service.name, own.name) == port for own in service.ports):
        return OURS  # its keeper has opened it, and would not have got what others have
    roots = (held.identity,) if held and held.identity else ()
    runs_in = sharing.runs_in(inc, service)
    marks = runs_in.marks(*roots, part=f"service:{service.name}")
    return listener_of(inc, port, marks=marks)


async def port_thief(inc: Incarnation, service: ServiceSpec, looked_at: Subject) -> PortTaken | None:
    """A service that ended because somebody else has its port is a conflict, not a crash."""
    for port in service.ports:
        number = inc.port(service.name, port.name)
        if looked_at.owner_of is not None:
            found = await blocking.look("proc", 5.0, looked_at.owner_of, number)
            if found.owner is Owner.FOREIGN:
                return PortTaken.by(found.who, port=number)
    return None


def listener_of(inc: Incarnation, port: int, *, marks: Marks) -> Ownership:
    """Who listens there; ours if it carries these marks. Blocking."""
    systems = inc.systems
    return ownership.of_listener(
        port,
        listener=systems.sockets.listener,
        is_ours=partial(systems.processes.belongs, marks=marks),
        name=systems.processes.command,
    )


def _begin(held: Held) -> int:
    """Where in the current log file this launch begins; it may have begun in one that was rotated away."""
    return max(0, held.log_offset - held.log_base)


async def excerpt(held: Held | None) -> str:
    """The last lines a service wrote since its launch; empty when there are none."""
    return await blocking.look("file", _EXCERPT_S, _last_lines, held) if held else ""


def _last_lines(held: Held) -> str:
    if not held.log.exists():
        return ""
    with held.log.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(min(_begin(held), end), end - _EXCERPT_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-_EXCERPT_LINES:])
