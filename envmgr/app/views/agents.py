"""An agent, what runs of it, what happens to it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from envmgr.app.shapes import View


class ConditionView(View):
    """A reasoned remark on an agent."""

    type: str
    subject: str = ""
    reason: str
    since: float = Field(description="Unix time")


class EvidenceView(View):
    """Why envmgr believes the present activity."""

    source: str
    detail: str
    age_s: float


class ContainerView(View):
    """The container a service runs in."""

    id: str = Field(description="Empty while there is none, or none was seen")
    name: str
    image: str
    published: dict[str, int] = Field(default={}, description="Port inside, as `5432/tcp`: port on this host")


class LimitView(View):
    """A limit of a service, and who enforces it."""

    name: str = Field(description="memory, cpus, pids, nofile or nice")
    value: str
    tier: str = Field(description="engine, cgroup, rlimits, or guard: looked at now and then")


class ServiceView(View):
    """A service of an agent."""

    name: str
    kind: str
    state: str
    detail: str = ""
    ports: dict[str, int] = {}
    urls: list[str] = []
    shared_by: list[str] = Field(
        default=[], description="Agents that use the same instance; empty unless it is shared"
    )
    container: ContainerView | None = Field(default=None, description="None for what runs on the host")
    limits: list[LimitView] = []
    instances: list[ServiceView] = Field(
        default=[], description="Of a replicated service, lowest index first"
    )


class SharedView(View):
    """A service that agents of a repository share."""

    service: str
    repo: str
    runs: bool
    holders: list[str] = Field(default=[], description="Names of the agents that use it")
    volumes: bool = Field(
        default=False, description="Whether it runs in the engine and may have left volumes there"
    )
    id: str = Field(description="In the names of its container and volumes")


class BegunView(View):
    """A container, network or volume that the agent itself has begun."""

    kind: str = Field(description="container, network or volume")
    name: str
    id: str = Field(default="", description="Of a container")
    image: str = ""
    state: str = ""
    kept: bool = Field(default=False, description="It carries `envmgr.keep=true`, so it is never removed")


class AgentView(View):
    """An agent."""

    id: str
    name: str
    lifecycle: str
    activity: str | None = None
    activity_source: str | None = Field(default=None, description="hook, stream, process, screen or envmgr")
    generation: int
    reason: str = ""
    since: float = Field(description="Unix time at which the present lifecycle began")
    activity_since: float = Field(default=0.0, description="Unix time at which the present activity began")
    template: str
    assistant: str
    repo: str
    branch: str
    worktree: str
    origin: str = Field(default="", description="What it was forked from; empty for others")
    conditions: list[ConditionView] = []
    services: list[ServiceView] = []
    tasks: list[str] = Field(default=[], description="Tasks it is at; told by `ls`, `show` and `why`")
    begun: list[BegunView] = Field(
        default=[], description="What it has begun itself in the container engine; asked for by `show` only"
    )
    begun_unknown: str = Field(default="", description="Why the engine could not tell; empty when it could")
    dropped_by_rm: list[str] = Field(
        default=[],
        description="Shared services whose data of this agent `rm` drops, beyond `undo`; asked for by `show` only",
    )


class AgentList(View):
    """All agents, oldest first."""

    agents: list[AgentView]


class StepView(View):
    """One step of the present generation's spawn."""

    step: str
    state: str
    error: str = ""


class EventView(View):
    """Something that happened. `seq` only grows; ask for events after it to go on."""

    seq: int
    at: float
    kind: str
    agent: str = ""
    name: str = Field(default="", description="The agent's name, empty when it is gone")
    generation: int = 0
    cause: str = ""
    data: dict[str, object] = {}


class WhyView(View):
    """State, evidence with age, last decisions, and what comes next."""

    agent: AgentView
    evidence: EvidenceView | None = None
    steps: list[StepView] = []
    decisions: list[EventView] = []
    next: str


class PlanView(View):
    """What a spawn would do."""

    name: str
    template: str
    source: str
    repo: str
    branch: str
    base: str
    worktree: str
    steps: list[str]
    services: list[str] = []
    images: list[str] = []
    volumes: list[str] = []
    ports: dict[str, str] = {}
    command: str


class SpawnItem(View):
    """One line of a spawn's progress; the last line of each agent is `done` or `failed`."""

    kind: Literal["plan", "accepted", "step", "service", "done", "failed"]
    name: str
    step: str = ""
    state: str = ""
    detail: str = ""
    at: float = 0.0
    agent: AgentView | None = None
    plan: PlanView | None = None
    problem: dict[str, object] | None = None


class RemovedView(View):
    """What was removed, and how to bring it back."""

    name: str
    snapshot: str = Field(default="", description="Git ref that holds the work")
    message: str
