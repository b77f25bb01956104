"""What operations give: the shapes of JSON output, HTTP answers and reference pages."""

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


class SavedVolumeView(View):
    """The copy of a volume in a snapshot."""

    name: str
    bytes: int


class SnapshotView(View):
    """Saved work of an agent."""

    id: int
    name: str = Field(description="The agent's")
    label: str = Field(default="", description="The snapshot's own name")
    kind: str = Field(
        default="removal",
        description="manual, fork, or what it was taken before: removal, restore, checkpoint",
    )
    reason: str = Field(default="", description="What envmgr was about to do")
    undo: str = Field(default="", description="What `undo` would do with it now")
    repo: str
    branch: str
    ref: str = Field(description="Git ref that holds the files")
    at: float
    restored: bool
    volumes: list[SavedVolumeView] = []
    bytes: int = Field(default=0, description="Of the volumes; files are kept by git")


class SnapshotList(View):
    """Snapshots, oldest first."""

    snapshots: list[SnapshotView]


class RestoredView(View):
    """The agent after a restore, and how to take the restore back."""

    agent: AgentView
    snapshot: SnapshotView
    before: int = Field(
        default=0, description="Number of the snapshot of what was there; 0 when it was taken earlier"
    )


class UndoView(View):
    """What was brought back, or what can be."""

    restored: AgentView | None = None
    snapshots: list[SnapshotView] = Field(
        default=[],
        description="What can be brought back; or the one that was put back into an agent that is there",
    )
    before: int = Field(default=0, description="Number of the snapshot of what was there")


class AttachView(View):
    """How to get into the agent's terminal."""

    argv: list[str]
    identify: list[str] = Field(description="Prints the same line for as long as that session exists")
    name: str
    notes: list[str] = Field(
        default=[], description="What the template's hooks had to say; shown in the terminal"
    )


class EnvView(View):
    """The agent's environment."""

    name: str
    worktree: str
    env: dict[str, str]
    container: str = Field(default="", description="Where a command is to run; empty for the host")
    engine: dict[str, str] = Field(
        default={}, description="Environment by which docker finds the container's engine"
    )


class UrlView(View):
    """Addresses of an agent's services."""

    name: str
    urls: dict[str, str]


class LogLine(View):
    """A piece of a service's output."""

    service: str
    text: str


class Done(View):
    """It is done."""

    message: str


class DaemonView(View):
    """The daemon."""

    running: bool
    pid: int | None = None
    version: str = ""
    state_dir: str = ""
    socket: str = ""
    started_at: float = 0.0
    agents: int = 0
    troubles: list[str] = []
    shared: list[SharedView] = []
    code: str = Field(default="", description="Fingerprint of the files that it was started from")
    engine: str = Field(
        default="", description="Address of its container engine, and who says so; empty for none"
    )
    engine_trouble: str = Field(default="", description="Why that one cannot be used; empty when it can")
    pressure: str = Field(default="", description="Which disk is too full; empty when none is")


class VersionView(View):
    """Versions of envmgr and of what it stands on."""

    envmgr: str
    python: str
    git: str
    tmux: str


class CheckView(View):
    """One finding of the doctor."""

    check: str
    ok: bool
    found: str
    fix: str = ""


class DoctorView(View):
    """What is right and what is not, each with a fix."""

    ok: bool
    checks: list[CheckView]


class TemplateView(View):
    """A template that can be spawned."""

    name: str
    origin: str
    path: str
    description: str = ""
    shadowed: bool = False


class TemplateListView(View):
    """Templates in the order in which they are found."""

    templates: list[TemplateView]


class SourceView(View):
    """A template's text."""

    path: str
    text: str


class FindingView(View):
    """Something wrong (or doubtful) in a template."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    warning: bool = False


class ValidationView(View):
    """The result of checking a template."""

    ok: bool
    findings: list[FindingView]


class ExplainedView(View):
    """Resolved fields with their origin."""

    fields: list[dict[str, str]]


class SchemaView(View):
    """A JSON Schema."""

    schema_: dict[str, object] = Field(alias="schema")


class ImportFindingView(View):
    """Something of an imported file that comes out otherwise than it was said there."""

    file: str
    line: int
    column: int
    severity: str = Field(description="changed, dropped or unsupported")
    key: str
    says: str
    service: str = ""


class ImportView(View):
    """A template made from files of another format, or only the report about it."""

    name: str
    format: str
    path: str
    text: str
    written: bool
    checked: bool = Field(description="Only the report was asked for")
    ok: bool = Field(description="False: it was only checked, and something would be lost")
    findings: list[ImportFindingView]


class InitView(View):
    """The template that was (or would be) written."""

    path: str
    text: str
    written: bool
    findings: list[str]


class ArchiveEntryView(View):
    """A session that has ended, and what is kept of it."""

    entry: str = Field(description="AGENT@GENERATION")
    number: int
    name: str
    generation: int
    since_generation: int = Field(
        description="First generation it tells of; those in between were respawned by envmgr"
    )
    at: float
    reason: str = Field(description="Why the session ended")
    template: str
    assistant: str
    repo: str
    branch: str
    ref: str = Field(description="Git ref of the files at the end; empty when they could not be kept")
    pinned: bool
    commits: int
    events: int
    incidents: int
    recordings: list[str] = Field(description="Of what `archive show --logs` has the text")
    missing: list[str] = Field(description="What could not be kept, and why")
    bytes: int
    folder: str = Field(description="Where its files lie")


class ArchiveList(View):
    """Sessions that have ended, oldest first."""

    entries: list[ArchiveEntryView]
    bytes: int


class CommitView(View):
    """A commit made in a session."""

    id: str
    at: float
    author: str
    subject: str
    files: list[str]


class ArchiveShowView(View):
    """One entry with its work, or the text of one of its recordings."""

    entry: ArchiveEntryView
    commits: list[CommitView] = []
    uncommitted: list[str] = []
    log: str | None = None


class ArchiveRemovedView(View):
    """What was deleted."""

    removed: list[str]
    bytes: int
