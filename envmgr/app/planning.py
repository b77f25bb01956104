"""What a spawn would do, for `envmgr spawn --dry-run`."""

from __future__ import annotations

from collections.abc import Iterator

from envmgr.app import views
from envmgr.app.context import App
from envmgr.core.counting import counted
from envmgr.model.container import ContainerSpec, MountKind, PullPolicy, VolumeSpec
from envmgr.model.service import ServiceSpec
from envmgr.model.spec import AgentSpec

_PULLED = {
    PullPolicy.MISSING: "pulled if it is missing",
    PullPolicy.ALWAYS: "pulled each time",
    PullPolicy.NEVER: "never pulled",
}


def planned(app: App, spec: AgentSpec, repo_key: str) -> views.PlanView:
    """The plan of one agent; nothing is asked of the host or of the container engine."""
    command = spec.assistant.command
    return views.PlanView(
        name=spec.name,
        template=spec.template,
        source=spec.source,
        repo=spec.repo,
        branch=spec.workspace.branch,
        base=spec.workspace.base,
        worktree=str(app.worktree_root / repo_key / spec.name),
        steps=list(_steps(spec)),
        services=[_service(service) for service in spec.services],
        images=list(dict.fromkeys(_image(s.container, s.name) for s in spec.services if s.container)),
        volumes=list(_volumes(spec)),
        ports={
            f"{s.name}.{p.name}": str(p.number or p.prefer or f"one of a block of {spec.ports.block}")
            for s in spec.services
            for p in s.ports
        },
        command=command if isinstance(command, str) and command else " ".join(command) or spec.assistant.kind,
    )


def _steps(spec: AgentSpec) -> Iterator[str]:
    is_contained = any(s.container is not None and not s.is_shared for s in spec.services)
    yield "admission"
    if spec.services:
        yield "ports, networks" if is_contained else "ports"
    yield "worktree, session, environment"
    if spec.workspace.setup or spec.hooks.on_create:
        yield "setup"
    if spec.services:
        yield "services"
    if spec.hooks.on_start:
        yield "hooks"
    yield "assistant"
    yield "readiness"


def _service(service: ServiceSpec) -> str:
    about = [service.kind.value]
    if service.is_shared:
        about.append("shared by all agents")
    if service.replicas is not None:
        about.append(counted(service.replicas, "replica"))
    edges = ", ".join(f"{edge.service} {edge.condition.value}" for edge in service.depends_on)
    return f"{service.name} ({', '.join(about)})" + (f" after {edges}" if edges else "")


def _image(container: ContainerSpec, service: str) -> str:
    if container.build is None:
        return f"{container.image} ({_PULLED[container.pull]})"
    return f"{container.image or service} (built from {container.build.context})"


def _volumes(spec: AgentSpec) -> Iterator[str]:
    """Each named volume once, with who uses it."""
    declared = {volume.name: volume for volume in spec.volumes}
    users: dict[tuple[str, bool], list[str]] = {}
    for service in spec.services:
        for mount in service.container.mounts if service.container else ():
            if mount.kind is MountKind.VOLUME and mount.source:
                users.setdefault((mount.source, service.is_shared), []).append(service.name)
    for (name, is_shared), services in users.items():
        owner = "all agents'" if is_shared else "the agent's own"
        yield f"{name}: {owner}, for {', '.join(dict.fromkeys(services))}{_seeded(declared.get(name))}"


def _seeded(volume: VolumeSpec | None) -> str:
    if volume is None or volume.seed is None:
        return ""
    return (
        f", filled from snapshot {volume.seed.snapshot}" if volume.seed.snapshot else ", filled by a script"
    )
