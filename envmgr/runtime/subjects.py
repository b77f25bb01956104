"""Services as probes and people look at them: ports, log, owner check, last words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from envmgr.aio import blocking
from envmgr.errors import PortTaken
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.protocols.keepers import Held
from envmgr.protocols.processes import Marks
from envmgr.runtime import probes, rendering, sharing
from envmgr.runtime.container_view import ContainerView
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.notify import Notified

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
) -> probes.Subject:
    """What the probes of a service look at; the owner check is off for external services.

    Args:
        notified: Hears of the present launch while it starts; later its word stands.

    It is off for containers, too: the engine itself listens on their published ports, and said so when it took them.
    """

    async def execute(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        env = rendering.beside_env(inc, service, secrets)
        return await inc.systems.execute(argv, inc.path / service.cwd, env, timeout_s)

    in_container = service.container is not None
    is_ours = service.kind is not ServiceKind.EXTERNAL and not in_container
    checks_owner = is_ours and (service.ready is None or service.ready.owner)

    async def has_said_so() -> probes.Answer:
        is_ready = notified is None or notified.is_ready()
        return probes.Answer(is_ready=is_ready, why="" if is_ready else "it has not said READY=1")

    return probes.Subject(
        notified=has_said_so,
        container=ContainerView(sharing.runs_in(inc, service), service) if in_container else None,
        ports={port.name: inc.port(service.name, port.name) for port in service.ports},
        shell=service.shell,
        execute=execute,
        log=held.log if held else None,
        log_offset=_begin(held) if held else 0,
        foreign=partial(foreign, inc, service, held) if checks_owner else None,
    )


def foreign(inc: Incarnation, service: ServiceSpec, held: Held | None, port: int) -> str:
    """Who else listens on a port of the service; empty when it is ours or nobody can tell. Blocking."""
    if any(own.listen and inc.port(service.name, own.name) == port for own in service.ports):
        return ""  # its keeper has opened it, and would not have got what others have
    roots = (held.identity,) if held and held.identity else ()
    runs_in = sharing.runs_in(inc, service)
    return stranger(inc, port, marks=runs_in.marks(*roots, part=f"service:{service.name}"))


async def port_thief(inc: Incarnation, service: ServiceSpec, looked_at: probes.Subject) -> PortTaken | None:
    """A service that ended because somebody else has its port is a conflict, not a crash."""
    for port in service.ports:
        number = inc.port(service.name, port.name)
        foreign = looked_at.foreign
        owner = await blocking.look("proc", 5.0, foreign, number) if foreign else ""
        if owner:
            return PortTaken.by(owner, port=number)
    return None


def stranger(inc: Incarnation, port: int, *, marks: Marks) -> str:
    """Who listens there and surely does not carry these marks; empty when nobody does, or nobody can tell. Blocking."""
    systems = inc.systems
    return probes.foreign_listener(
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
