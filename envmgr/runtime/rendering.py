"""Environments and commands of an agent's parts, once ports are leased and secrets are known."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace

from envmgr.core.placeholders import render
from envmgr.model.ids import compose_project
from envmgr.model.probe import (
    AllOf,
    AnyOf,
    ExecProbe,
    HttpProbe,
    ImageHealth,
    LogProbe,
    NotifyProbe,
    Probe,
    ProcessProbe,
    ResourceProbe,
    TcpProbe,
)
from envmgr.model.service import ServiceSpec
from envmgr.runtime import notify, viewpoint
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.viewpoint import Viewer


def values(
    inc: Incarnation, secrets: Mapping[str, str], service: str = "", *, viewer: Viewer = None
) -> dict[str, str]:
    """What late references stand for; `ports.X` means the ports of `service`, and hosts are as `viewer` sees them."""
    known = {"workspace.path": str(inc.path), "agent.id": inc.id}
    known |= {f"secrets.{name}": value for name, value in secrets.items()}
    for owner in inc.services:
        known[f"services.{owner.name}.host"] = viewpoint.host(inc, owner, viewer)
        for port in owner.ports:
            if (owner.name, port.name) in inc.ports:
                number = str(viewpoint.port(inc, owner, port.name, viewer))
                known[f"services.{owner.name}.ports.{port.name}"] = number
                if owner.name == service:
                    known[f"ports.{port.name}"] = number
    return known


def command(text: str | tuple[str, ...], shell: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """argv of a command; a string goes to the shell, which is told to exec so that signals arrive."""
    if isinstance(text, tuple):
        return tuple(render(part, known, shell=False) for part in text)
    return (shell, "-c", render(text, known, shell=True))


def probe(look: Probe, known: Mapping[str, str], inside: Mapping[str, str] | None = None) -> Probe:
    """The probe with its late references filled in; `inside`: what they stand for in the service's container."""
    match look:
        case ExecProbe(inside=True) if inside is not None:
            return probe(look, inside)
        case HttpProbe():
            return replace(
                look,
                path=render(look.path, known, shell=False),
                host=render(look.host, known, shell=False),
                headers={name: render(value, known, shell=False) for name, value in look.headers.items()},
                body=None if look.body is None else render(look.body, known, shell=False),
            )
        case TcpProbe():
            return replace(look, host=render(look.host, known, shell=False))
        case ExecProbe(command=str() as line):
            return replace(look, command=render(line, known, shell=True))
        case ExecProbe(command=words):
            return replace(look, command=tuple(render(word, known, shell=False) for word in words))
        case ImageHealth() | NotifyProbe() | ResourceProbe():
            return look
        case LogProbe() | ProcessProbe():
            return replace(look, pattern=render(look.pattern, known, shell=False))
        case AnyOf(probes=parts):
            return AnyOf(probes=tuple(probe(part, known, inside) for part in parts))
        case AllOf(probes=parts):
            return AllOf(probes=tuple(probe(part, known, inside) for part in parts))


def probe_of(inc: Incarnation, service: ServiceSpec, look: Probe, secrets: Mapping[str, str]) -> Probe:
    """A probe of a service: as the host sees the world, and as its container does where it runs inside."""
    outside = values(inc, secrets, service.name)
    inside = values(inc, secrets, service.name, viewer=service) if service.container is not None else None
    return probe(look, outside, inside)


def wants_secrets(look: Probe, secrets: Mapping[str, str]) -> bool:
    """Whether its answer may depend on them: they are in the environment of commands beside the service."""
    match look:
        case ExecProbe(inside=False):
            return bool(secrets)
        case AnyOf(probes=parts) | AllOf(probes=parts):
            return any(wants_secrets(part, secrets) for part in parts)
    return bool(named(secrets, look))


def variable(service: str, port: str) -> str:
    """`<SERVICE>_<NAME>_PORT`, with everything but letters and digits as underscores."""
    return re.sub(r"[^A-Z0-9]+", "_", f"{service}_{port}_PORT".upper())


def named(secrets: Mapping[str, str], *places: object) -> dict[str, str]:
    """The secrets whose names stand anywhere in these parts of a template, as `$NAME` or in any other way."""
    words = {word for place in places for text in _texts(place) for word in _WORD.findall(text)}
    return {name: value for name, value in secrets.items() if name in words}


_WORD = re.compile(r"\w+")


def _texts(place: object) -> Iterator[str]:
    """All texts of a value of the model; what is written for people only does not count."""
    if isinstance(place, str):
        yield place
    elif isinstance(place, Mapping):
        for key, value in place.items():
            yield from (key, *_texts(value))
    elif isinstance(place, Sequence):
        for part in place:
            yield from _texts(part)
    elif is_dataclass(place):
        for field in fields(place):
            if field.name != "description":
                yield from _texts(getattr(place, field.name))


def shared(inc: Incarnation, secrets: Mapping[str, str], *, viewer: Viewer = None) -> dict[str, str]:
    """What every part of the agent gets: template environment, secrets, all port variables and URLs.

    In a container nothing of the person's own environment: PATH and HOME are those of the image. And only the secrets that its
    service names: everybody who may ask the engine can read a container's environment.
    """
    known = values(inc, secrets, viewer=viewer)
    is_inside = viewer is not None and viewer.container is not None
    given = {k: v for k, v in inc.spec.env.items() if not (is_inside and k in inc.spec.inherited)}
    env = {key: render(_addressed(value, "", viewer), known, shell=False) for key, value in given.items()}
    env = _without_false_ports(inc, env, known)
    env |= named(secrets, viewer) if is_inside else secrets
    for service in inc.services:
        if not service.replica_of:  # instances come and go; what stays is the port in front of them
            env |= _port_variables(inc, service, service.name, viewer)
    env |= {"ENVMGR_AGENT_NAME": inc.name, "ENVMGR_GENERATION": str(inc.generation)}
    places = {"ENVMGR_WORKTREE": str(inc.path), "ENVMGR_ENV_FILE": str(inc.home / "env")}
    return env | ({} if is_inside else places)


def finding_us(inc: Incarnation, env: Mapping[str, str]) -> dict[str, str]:
    """The same, with `envmgr` found where nothing else on the PATH is called so: last, and nobody needs to look now."""
    if inc.systems.command_folder is None:
        return dict(env)
    ours = str(inc.systems.command_folder)
    others = [one for one in (env.get("PATH") or os.defpath).split(os.pathsep) if one != ours]
    return {**env, "PATH": os.pathsep.join([*others, ours])}


def exports(
    inc: Incarnation,
    secrets: Mapping[str, str],
    names: Iterator[str] | None = None,
    *,
    viewer: Viewer = None,
) -> dict[str, str]:
    """Connection strings and URLs that services (all, or the named ones) export."""
    wanted = set(names) if names is not None else {s.name for s in inc.services}
    env: dict[str, str] = {}
    for service in inc.services:
        if service.name in wanted:
            known = values(inc, secrets, service.name, viewer=viewer)
            for key, value in service.exports.items():
                env[key] = render(_addressed(value, service.name, viewer), known, shell=False)
    return env


def service_env(inc: Incarnation, service: ServiceSpec, secrets: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one service: in its container, if it has one, else on the host."""
    env = _service_env(inc, service, secrets, viewer=service)
    if notify.is_awaited(service):
        env[notify.VARIABLE] = notify.address(inc, service.name)
    if service.container is None:
        return env | inc.marker(f"service:{service.name}")
    # No whole marker: what runs in a container is ended by the engine, never by a look at the host's processes.
    return env | {"ENVMGR_AGENT": inc.id, "ENVMGR_SERVICE": service.name}


def beside_env(inc: Incarnation, service: ServiceSpec, secrets: Mapping[str, str]) -> dict[str, str]:
    """The environment of commands on the host that concern a service, such as probes: addresses are the host's."""
    return _service_env(inc, service, secrets, viewer=None) | inc.marker(f"service:{service.name}")


def _service_env(
    inc: Incarnation, service: ServiceSpec, secrets: Mapping[str, str], *, viewer: Viewer
) -> dict[str, str]:
    known = values(inc, secrets, service.name, viewer=viewer)
    env = shared(inc, secrets, viewer=viewer)
    env |= exports(inc, secrets, _upstream(inc, service), viewer=viewer)
    if service.replica_of:
        env |= _port_variables(inc, service, service.replica_of, viewer)
    env |= dict(_own_ports(inc, service, viewer))
    # `127.0.0.1:${ports.X}` of its own is right where it runs, hence no owner.
    own = {
        key: render(_addressed(value, "", viewer), known, shell=False) for key, value in service.env.items()
    }
    is_inside = viewer is not None and viewer.container is not None
    return env | own if is_inside else finding_us(inc, env | own)


def _addressed(text: str, owner: str, viewer: Viewer) -> str:
    """Only for viewers in containers; elsewhere a loopback address is right as it stands."""
    is_inside = viewer is not None and viewer.container is not None
    return viewpoint.addressed(text, owner) if is_inside else text


def assistant_env(inc: Incarnation, secrets: Mapping[str, str], part: str = "assistant") -> dict[str, str]:
    """The whole environment of the assistant, and of commands run beside it."""
    known = values(inc, secrets)
    env = shared(inc, secrets) | exports(inc, secrets)
    for instance in (unit for unit in inc.services if unit.replica_of):
        env |= _port_variables(inc, instance, instance.name, None)
    # A tmux of the agent's own gets a socket of its own: neither envmgr's server nor the person's.
    env["TMUX_TMPDIR"] = str(inc.home)
    env |= {key: render(value, known, shell=False) for key, value in inc.spec.assistant.env.items()}
    # What `docker compose` makes here is the agent's own, and never another agent's.
    env["COMPOSE_PROJECT_NAME"] = compose_project(inc.id)
    return finding_us(inc, env) | inc.marker(part)


def _without_false_ports(
    inc: Incarnation, env: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, str]:
    """A PORT from an env file, or from the person's shell, names a port where nobody of this agent listens."""
    ports = {name for unit in inc.services for name, _ in _own_ports(inc, unit, None)}
    numbers = {number for reference, number in known.items() if ".ports." in reference}
    return {name: value for name, value in env.items() if name not in ports or value in numbers}


def _port_variables(inc: Incarnation, service: ServiceSpec, name: str, viewer: Viewer) -> dict[str, str]:
    """`<NAME>_<PORT>_PORT` of a service; an instance sees its own under the name of its service."""
    return {
        variable(name, port.name): str(viewpoint.port(inc, service, port.name, viewer))
        for port in service.ports
    }


def _own_ports(inc: Incarnation, service: ServiceSpec, viewer: Viewer) -> Iterator[tuple[str, str]]:
    for port in service.ports:
        number = str(viewpoint.port(inc, service, port.name, viewer))
        if len(service.ports) == 1:
            yield "PORT", number
        if port.env:
            yield port.env, number


def _upstream(inc: Incarnation, service: ServiceSpec) -> Iterator[str]:
    """Everything the service depends on, directly or not."""
    seen: set[str] = set()
    waiting = [edge.service for edge in service.depends_on]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            yield name
            waiting += [edge.service for edge in inc.service(name).depends_on]
