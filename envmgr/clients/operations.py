"""Every operation as a method, every result as a type. Generated from the operations registry; do not edit.

Run `python -m envmgr.interfaces.cli.generate`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast


class AgentHealth(TypedDict):
    """Services of an agent as their probes saw them."""

    agent: str
    at: float
    since_at: float
    suspended: str
    services: list[UnitHealth]
    series: list[SampleView]


class AgentList(TypedDict):
    """All agents, oldest first."""

    agents: list[AgentView]


class AgentView(TypedDict):
    """An agent."""

    id: str
    name: str
    lifecycle: str
    activity: str | None
    activity_source: str | None
    generation: int
    reason: str
    since: float
    activity_since: float
    template: str
    assistant: str
    repo: str
    branch: str
    worktree: str
    origin: str
    conditions: list[ConditionView]
    services: list[ServiceView]
    tasks: list[str]
    begun: list[BegunView]
    begun_unknown: str
    dropped_by_rm: list[str]


class AgentsStepView(TypedDict):
    """One step of the present generation's spawn."""

    step: str
    state: str
    error: str


class AppliedView(TypedDict):
    """What was done; units that are not named were not touched."""

    agent: str
    plan: str
    steps: list[ReloadStepView]
    message: str


class ArchiveEntryView(TypedDict):
    """A session that has ended, and what is kept of it."""

    entry: str
    number: int
    name: str
    generation: int
    since_generation: int
    at: float
    reason: str
    template: str
    assistant: str
    repo: str
    branch: str
    ref: str
    pinned: bool
    commits: int
    events: int
    incidents: int
    recordings: list[str]
    missing: list[str]
    bytes: int
    folder: str


class ArchiveList(TypedDict):
    """Sessions that have ended, oldest first."""

    entries: list[ArchiveEntryView]
    bytes: int


class ArchiveRemovedView(TypedDict):
    """What was deleted."""

    removed: list[str]
    bytes: int


class ArchiveShowView(TypedDict):
    """One entry with its work, or the text of one of its recordings."""

    entry: ArchiveEntryView
    commits: list[CommitView]
    uncommitted: list[str]
    log: str | None


class AttachView(TypedDict):
    """How to get into the agent's terminal."""

    argv: list[str]
    identify: list[str]
    name: str
    notes: list[str]


class AttemptView(TypedDict):
    """One holder's try."""

    number: int
    by: str
    began_at: str
    ended_at: str
    outcome: str
    error_code: str
    error_message: str
    usage: UsageView
    result: dict[str, Any] | None


class AuditEntry(TypedDict):
    """One call."""

    seq: int
    at: str
    request: str
    actor: str
    kind: str
    name: str
    agent: str
    session: str
    operation: str
    target: str
    decision: str
    outcome: str
    params: dict[str, Any]
    result: dict[str, Any]
    latency_s: float | None
    hash: str


class AuditFinding(TypedDict):
    """Something that is not as it was written."""

    kind: str
    seq: int
    says: str


class AuditPage(TypedDict):
    """Rows, newest first."""

    entries: list[AuditEntry]
    more: bool
    ok: bool


class AuditProof(TypedDict):
    """A row, its way up the tree, and the signed checkpoint that names the root."""

    row: AuditRow
    index: int
    path: list[str]
    checkpoint: Checkpoint
    public_key: str


class AuditRow(TypedDict):
    """A row as it was hashed: `hash` is the SHA-256 of `prev` and the JSON array of all fields from `seq` to `latency_us`."""

    seq: int
    at_us: int
    request: str
    actor: str
    kind: str
    name: str
    agent: str
    session: str
    operation: str
    target: str
    decision: str
    outcome: str
    params: str
    result: str
    latency_us: int | None
    prev: str
    hash: str


class AuditVerdict(TypedDict):
    """What came of a look at the whole trail."""

    ok: bool
    checked: int
    first: int
    last: int
    head: str
    sealed: int
    sealed_at: str
    checkpoints: int
    newest: str
    filed: int
    key: str
    findings: list[AuditFinding]
    notes: list[str]


class AuditView(TypedDict):
    """What there is."""

    things: list[ThingView]
    totals: dict[str, int]
    leaked_bytes: int


class BatchTask(TypedDict):
    """A task of a batch."""

    description: str
    task_type: NotRequired[str]
    input_data: NotRequired[dict[str, Any]]
    priority: NotRequired[int]
    depends_on: NotRequired[list[str]]
    claims: NotRequired[list[str]]
    capabilities: NotRequired[list[str]]
    deadline: NotRequired[str]
    run_at: NotRequired[str]
    max_attempts: NotRequired[int]
    dependents: NotRequired[Literal['block', 'cancel', 'continue']]
    budget: NotRequired[Limits]
    parent: NotRequired[str]
    discovered_from: NotRequired[str]
    related: NotRequired[list[str]]
    key: NotRequired[str]


class BatchView(TypedDict):
    """Tasks that were taken in together, in the order in which they were given."""

    ok: bool
    success: bool
    count: int
    tasks: list[SubmittedView]
    is_repeat: bool


class BegunView(TypedDict):
    """A container, network or volume that the agent itself has begun."""

    kind: str
    name: str
    id: str
    image: str
    state: str
    kept: bool


class BudgetView(TypedDict):
    """What is left of a budget."""

    rung: str
    left: int
    of: int


class CapacityView(TypedDict):
    """How many more agents fit."""

    template: str
    fits: int | None
    first: str
    remedy: str
    short: dict[str, str]
    supplies: list[SupplyView]


class ChangeView(TypedDict):
    """The newest change of one file by one agent."""

    agent_id: str
    agent: str
    path: str
    kind: str
    changed_at: str
    age_s: float
    main_checkout: bool
    evidence: str
    violates: int
    locked_by: str


class ChangedView(TypedDict):
    """What a change did, unit by unit; units that are not named run on untouched."""

    agent: str
    units: list[UnitResult]
    notes: list[str]


class ChangesView(TypedDict):
    """Changes, the newest first."""

    ok: bool
    success: bool
    repo: str
    changes: list[ChangeView]


class CheckView(TypedDict):
    """One finding of the doctor."""

    check: str
    ok: bool
    found: str
    fix: str


class Checkpoint(TypedDict):
    """A signed statement about rows, as it stands in the file of checkpoints."""

    mark: str
    number: int
    first: int
    last: int
    head: str
    root: str
    at_us: int
    instance: str
    prev: str
    key: str
    file: str
    digest: str
    signature: str


class ClaimView(TypedDict):
    """A task to do, or why there is none."""

    ok: bool
    success: bool
    reason: str
    task_id: str
    task_type: str
    description: str
    input_data: dict[str, Any]
    priority: int
    deadline: str
    lease_token: int
    lease_expires_at: str
    lease_s: float
    attempt: int
    budget: UsageView
    locks: list[str]
    lock_waits: list[ObstacleView]
    context: str


class ClimbView(TypedDict):
    """A measure that was taken."""

    rung: str
    outcome: str
    at: float
    ended_at: float | None
    because: str
    result: str


class CommitView(TypedDict):
    """A commit made in a session."""

    id: str
    at: float
    author: str
    subject: str
    files: list[str]


class ConditionView(TypedDict):
    """A reasoned remark on an agent."""

    type: str
    subject: str
    reason: str
    since: float


class ConflictView(TypedDict):
    """Who is in the way, and where."""

    target: str
    held: str
    holder: str
    mode: str
    reason: str
    since: str
    expires_at: str
    left_s: float | None
    overlap_example: str
    is_waiting: bool


class ContainerView(TypedDict):
    """The container a service runs in."""

    id: str
    name: str
    image: str
    published: dict[str, int]


class DaemonView(TypedDict):
    """The daemon."""

    running: bool
    pid: int | None
    version: str
    state_dir: str
    socket: str
    started_at: float
    agents: int
    troubles: list[str]
    shared: list[SharedView]
    code: str
    engine: str
    engine_trouble: str
    pressure: str


class DependantView(TypedDict):
    """A task that waits for one that is tried again, or was cancelled with it."""

    task_id: str
    status: str
    is_taken_up: bool
    waits_for: list[str]
    cancelled_because_of: str


class DoctorView(TypedDict):
    """What is right and what is not, each with a fix."""

    ok: bool
    checks: list[CheckView]


class Done(TypedDict):
    """It is done."""

    message: str


class DriftListView(TypedDict):
    """All that was found; empty when what runs is what was launched and what the templates say."""

    drifts: list[DriftView]


class DriftView(TypedDict):
    """One sort of drift of one agent."""

    agent: str
    drift: str
    reason: str
    next: str


class EdgeView(TypedDict):
    """`task_id` depends on `on`, or is tied to it."""

    task_id: str
    on: str
    kind: str
    is_met: bool


class EnvView(TypedDict):
    """The agent's environment."""

    name: str
    worktree: str
    env: dict[str, str]
    container: str
    engine: dict[str, str]


class EventView(TypedDict):
    """Something that happened. `seq` only grows; ask for events after it to go on."""

    seq: int
    at: float
    kind: str
    agent: str
    name: str
    generation: int
    cause: str
    data: dict[str, Any]


class EvidenceView(TypedDict):
    """Why envmgr believes the present activity."""

    source: str
    detail: str
    age_s: float


class ExplainedView(TypedDict):
    """Resolved fields with their origin."""

    fields: list[dict[str, str]]


class FailedView(TypedDict):
    """What stayed."""

    thing: ThingView
    error: str


class FieldView(TypedDict):
    """A field that differs."""

    path: str
    old: str
    new: str
    impact: str
    note: str


class FindingView(TypedDict):
    """Something wrong (or doubtful) in a template."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str
    warning: bool


class ForgottenView(TypedDict):
    """What is gone."""

    ok: bool
    memory_id: str
    summary: str
    dry_run: bool


Found = Literal['missing', 'installed', 'outdated', 'changed']


class GraphView(TypedDict):
    """Tasks and how they are tied together."""

    nodes: list[NodeView]
    edges: list[EdgeView]
    form: str
    is_cut: bool


class HandoffList(TypedDict):
    """Handoffs, newest first."""

    ok: bool
    handoffs: list[HandoffView]
    text: str


class HandoffView(TypedDict):
    """One handoff."""

    handoff_id: str
    agent: str
    agent_id: str
    session_id: str
    generation: int
    kind: str
    reason: str
    summary: str
    completed: list[str]
    in_progress: list[str]
    decisions: list[str]
    next_steps: list[str]
    files: list[str]
    branch: str
    head: str
    snapshot: str
    locks: list[str]
    tasks: list[str]
    transferred_to: str
    tail: str
    created_at: str
    id: str
    agent_name: str
    completed_work: list[str]
    relevant_files: list[str]


class HealthView(TypedDict):
    """How envmgr itself is. Says nothing of agents."""

    ok: bool
    status: str
    version: str
    parts: list[PartView]


class HelpView(TypedDict):
    """What there is to know."""

    topics: list[TopicView]


class ImportFindingView(TypedDict):
    """Something of an imported file that comes out otherwise than it was said there."""

    file: str
    line: int
    column: int
    severity: str
    key: str
    says: str
    service: str


class ImportView(TypedDict):
    """A template made from files of another format, or only the report about it."""

    name: str
    format: str
    path: str
    text: str
    written: bool
    checked: bool
    ok: bool
    findings: list[ImportFindingView]


class IncidentList(TypedDict):
    """Incidents, newest first."""

    incidents: list[IncidentView]
    stats: list[TemplateStatsView]
    details: bool
    safe_mode: str


class IncidentView(TypedDict):
    """A failure, what it was taken for, and all that was done about it."""

    id: int
    agent: str
    name: str
    generation: int
    template: str
    part: str
    service: str
    words: str
    failure: str
    confidence: float
    fingerprint: str
    advice: str
    evidence: list[SignView]
    climbs: list[ClimbView]
    symptoms: int
    opened_at: float
    seen_at: float
    closed_at: float | None
    bundle: str


class InitView(TypedDict):
    """The template that was (or would be) written."""

    path: str
    text: str
    written: bool
    findings: list[str]


class KeyView(TypedDict):
    """What is known of a key. The key itself is not."""

    id: str
    kind: str
    name: str
    agent: str
    scopes: list[str]
    created_at: str
    expires_at: str
    revoked_at: str
    used_at: str


class Keys(TypedDict):
    """Keys, oldest first."""

    keys: list[KeyView]


class LimitView(TypedDict):
    """A limit of a service, and who enforces it."""

    name: str
    value: str
    tier: str


class Limits(TypedDict):
    """Of one attempt: in a budget the most, in a report what was used; 0 is no limit."""

    tokens: NotRequired[int]
    cost: NotRequired[float]
    wall_s: NotRequired[float]
    tool_calls: NotRequired[int]
    file_changes: NotRequired[int]


class LinkView(TypedDict):
    """One step of a deadlock."""

    holder: str
    waits_for: str
    held_by: str
    held: str


class LiveView(TypedDict):
    """It lives: it has answered."""

    ok: bool
    status: str


class LockAnswer(TypedDict):
    """What came of asking for locks."""

    ok: bool
    success: bool
    status: Literal['granted', 'queued', 'conflict', 'deadlock', 'denied']
    action: Literal['acquired', 'refreshed', '']
    reason: str
    message: str
    locked_by: str
    lock_reason: str
    file_path: str
    expires_at: str
    locks: list[LockView]
    conflicts: list[ConflictView]
    warnings: list[ConflictView]
    queue_position: int
    cycle: list[LinkView]
    release_order: list[str]


class LockList(TypedDict):
    """Locks that are held, and who waits."""

    locks: list[LockView]
    waiting: list[WaiterView]
    would_conflict: list[ConflictView]
    stale_tokens: list[int]


class LockView(TypedDict):
    """A lock that is held."""

    target: str
    token: int
    mode: Literal['read', 'intent', 'write']
    holder: str
    holder_id: str
    reason: str
    task_id: str
    repo: str
    since_at: str
    expires_at: str
    ttl_s: float
    left_s: float
    renew_after_s: float
    file_path: str
    locked_by: str
    locked_at: str


class LockWhy(TypedDict):
    """Why a target cannot be had."""

    target: str
    is_yours: bool
    is_free: bool
    asker_id: str
    locks: list[LockView]
    waiting: list[WaiterView]
    conflicts: list[ConflictView]
    frees_at: str
    wait_command: str


class LocksView(TypedDict):
    """Locks after a change of them, or why there was none."""

    ok: bool
    success: bool
    action: Literal['renewed', 'transferred', 'released', '']
    reason: str
    message: str
    not_held: list[str]
    locks: list[LockView]


class LogLine(TypedDict):
    """A piece of a service's output."""

    service: str
    text: str


class MaintainView(TypedDict):
    """What was done."""

    tasks: list[MaintainingTaskView]
    dry_run: bool


class MaintainingTaskView(TypedDict):
    """What one task came to."""

    task: str
    says: str
    count: int
    bytes: int
    detail: str
    error: str


class MemoryList(TypedDict):
    """Memories, newest first."""

    ok: bool
    memories: list[MemoryView]


class MemoryView(TypedDict):
    """One memory."""

    memory_id: str
    event_type: str
    summary: str
    details: str
    outcome: str
    lessons: list[str]
    tags: list[str]
    files: list[str]
    importance: float
    pinned: bool
    agent: str
    agent_id: str
    task_id: str
    commit: str
    created_at: str
    age_days: float
    superseded_by: str
    score: float | None
    relevance_score: float | None
    id: str
    contradicts: list[str]


class NewKey(TypedDict):
    """A key that was just made."""

    key: str
    id: str
    name: str
    scopes: list[str]
    expires_at: str


class NodeView(TypedDict):
    """A task of the graph."""

    task_id: str
    status: str
    task_type: str
    summary: str


class Note(TypedDict):
    """One thing that happened, in somebody else's words."""

    kind: str
    agent: NotRequired[str]
    data: NotRequired[dict[str, Any]]


class ObstacleView(TypedDict):
    """Why somebody does not get a task."""

    code: str
    words: str
    on: str
    until: str


class OverlapsView(TypedDict):
    """All answers, in the order of the questions. `overlaps` and `witness` are those of the first that has any."""

    ok: bool
    overlaps: bool
    witness: str | None
    pairs: list[PairView]


class Pair(TypedDict):
    """Two targets; as JSON also `["a", "b"]`."""

    a: str
    b: str


class PairView(TypedDict):
    """One answer."""

    a: str
    b: str
    overlaps: bool | None
    witness: str | None
    error: str | None


class PartView(TypedDict):
    """One thing that envmgr stands on."""

    part: str
    ok: bool
    found: str


class PlanView(TypedDict):
    """What a spawn would do."""

    name: str
    template: str
    source: str
    repo: str
    branch: str
    base: str
    worktree: str
    steps: list[str]
    services: list[str]
    images: list[str]
    volumes: list[str]
    ports: dict[str, str]
    command: str


class PrincipalView(TypedDict):
    """Who asks, and what for they may ask."""

    kind: str
    name: str
    id: str
    agent: str
    scopes: list[str]


class ProofVerdict(TypedDict):
    """Whether a proof holds."""

    ok: bool
    seq: int
    says: list[str]
    key: str
    is_pinned: bool


class PulseView(TypedDict):
    """What a session should know."""

    ok: bool
    success: bool
    session_id: str
    status: str
    warnings: list[str]
    messages: list[str]
    must_stop: bool
    reason: str


class ReapView(TypedDict):
    """What was removed."""

    removed: list[ThingView]
    failed: list[FailedView]
    left: list[ThingView]
    would: list[ThingView]
    freed_bytes: int


class RecalledView(TypedDict):
    """What is known."""

    ok: bool
    memories: list[MemoryView]
    text: str
    truncated: bool


class RecoveryView(TypedDict):
    """What is, or would be, done."""

    agent: str
    rung: str
    because: str
    dry_run: bool
    incident: int
    budgets: list[BudgetView]


class RegisteredView(TypedDict):
    """It is known now."""

    ok: bool
    success: bool
    session_id: str
    agent_id: str
    agent: str
    stale_after_s: float


class ReleaseView(TypedDict):
    """What came of giving locks back."""

    ok: bool
    success: bool
    action: Literal['released', '']
    reason: str
    message: str
    file_path: str
    released: list[str]
    not_held: list[str]
    dirty_paths: list[str]


class ReloadStepView(TypedDict):
    """What was done to one unit."""

    unit: str
    done: str
    failure: str


class ReloadView(TypedDict):
    """The difference, with the effect of each field, and who follows."""

    agent: str
    plan: str
    impact: str
    units: list[UnitView]
    fields: list[FieldView]
    consents: list[str]
    obstacles: list[str]


class RememberedView(TypedDict):
    """What became of it."""

    ok: bool
    success: bool
    memory_id: str
    action: str
    deduplicated: bool
    contradicts: list[str]
    superseded: str


class RemovedList(TypedDict):
    """What was removed."""

    removed: list[RemovedView]


class RemovedSnapshots(TypedDict):
    """What was deleted."""

    removed: list[int]
    bytes: int


class RemovedView(TypedDict):
    """What was removed, and how to bring it back."""

    name: str
    snapshot: str
    message: str


class ReportView(TypedDict):
    """What became of a report."""

    ok: bool
    success: bool
    task_id: str
    status: str
    reason: str
    hint: str
    must_stop: bool
    over: list[str]
    lease_expires_at: str
    lease_s: float
    is_late: bool
    retry_at: str
    next_ready: list[str]
    cancelled: list[str]


class RestoredView(TypedDict):
    """The agent after a restore, and how to take the restore back."""

    agent: AgentView
    snapshot: SnapshotView
    before: int


class RetryView(TypedDict):
    """What became of a retry."""

    ok: bool
    success: bool
    task_id: str
    status: str
    reason: str
    hint: str
    must_stop: bool
    over: list[str]
    lease_expires_at: str
    lease_s: float
    is_late: bool
    retry_at: str
    next_ready: list[str]
    cancelled: list[str]
    dependants: list[DependantView]


class RungStatsView(TypedDict):
    """How often a measure was taken, and how often it helped."""

    rung: str
    taken: int
    held: int


class SafeModeView(TypedDict):
    """Whether envmgr does anything by itself."""

    on: bool
    reason: str
    since: float | None


class SampleView(TypedDict):
    """One thing that was measured."""

    service: str
    metric: str
    at: float
    value: float
    count: int


class SavedVolumeView(TypedDict):
    """The copy of a volume in a snapshot."""

    name: str
    bytes: int


class SchemaView(TypedDict):
    """A JSON Schema."""

    schema: dict[str, Any]


class ServiceView(TypedDict):
    """A service of an agent."""

    name: str
    kind: str
    state: str
    detail: str
    ports: dict[str, int]
    urls: list[str]
    shared_by: list[str]
    container: ContainerView | None
    limits: list[LimitView]
    instances: list[ServiceView]


class SessionList(TypedDict):
    """Who is here."""

    ok: bool
    agents: list[SessionView]


class SessionView(TypedDict):
    """One session."""

    agent_id: str
    agent: str
    session_id: str
    agent_type: str
    status: str
    capabilities: list[str]
    current_task: str
    tasks: list[str]
    locks: list[str]
    note: str
    worktree: str
    branch: str
    model: str
    delegated_from: str
    repo: str
    started_at: str
    last_heartbeat: str
    reason: str


class SharedView(TypedDict):
    """A service that agents of a repository share."""

    service: str
    repo: str
    runs: bool
    holders: list[str]
    volumes: bool
    id: str


class SignView(TypedDict):
    """Something that was seen."""

    source: str
    text: str


class SkillView(TypedDict):
    """One file."""

    path: str
    agents: list[str]
    state: Found
    action: str


class SkillsView(TypedDict):
    """All that were looked at."""

    skills: list[SkillView]
    ok: bool


class SnapshotList(TypedDict):
    """Snapshots, oldest first."""

    snapshots: list[SnapshotView]


class SnapshotView(TypedDict):
    """Saved work of an agent."""

    id: int
    name: str
    label: str
    kind: str
    reason: str
    undo: str
    repo: str
    branch: str
    ref: str
    at: float
    restored: bool
    volumes: list[SavedVolumeView]
    bytes: int


class SourceView(TypedDict):
    """A template's text."""

    path: str
    text: str


class SpawnItem(TypedDict):
    """One line of a spawn's progress; the last line of each agent is `done` or `failed`."""

    kind: Literal['plan', 'accepted', 'step', 'service', 'done', 'failed']
    name: str
    step: str
    state: str
    detail: str
    at: float
    agent: AgentView | None
    plan: PlanView | None
    problem: dict[str, Any] | None


class SubmittedView(TypedDict):
    """A task that was taken in."""

    ok: bool
    success: bool
    task_id: str
    key: str
    status: str
    blocked_by: list[str]
    is_repeat: bool


class SupplyView(TypedDict):
    """One thing that agents share."""

    name: str
    unit: str
    fits: int | None
    total: float | None
    free: float
    keep: float
    reserved: float
    each: float
    median: float | None
    basis: str
    remedy: str
    is_advice: bool


class TaskList(TypedDict):
    """A page of tasks, the newest first."""

    tasks: list[TaskRow]
    counts: dict[str, int]
    next: str


class TaskRow(TypedDict):
    """A task in a list."""

    task_id: str
    task_type: str
    status: str
    priority: int
    summary: str
    claimed_by: str
    waits_for: int
    attempts: int
    error: str
    submitted_at: str
    ended_at: str


class TaskViewsTaskView(TypedDict):
    """All that is known of a task."""

    ok: bool
    success: bool
    task_id: str
    key: str
    task_type: str
    description: str
    input_data: dict[str, Any]
    status: str
    priority: int
    repo: str
    claimed_by: str
    claimed_at: str
    lease_expires_at: str
    depends_on: list[str]
    waits_for: list[str]
    dependants: list[str]
    parent: str
    discovered_from: str
    related: list[str]
    capabilities: list[str]
    claims: list[str]
    dependents: str
    budget: UsageView
    usage: UsageView
    run_at: str
    retry_at: str
    deadline: str
    attempt_count: int
    failures: int
    max_attempts: int
    result: dict[str, Any] | None
    error_code: str
    error_message: str
    cancelled_because_of: str
    submitted_by: str
    created_at: str
    completed_at: str
    history: list[AttemptView]


class TemplateListView(TypedDict):
    """Templates in the order in which they are found."""

    templates: list[TemplateView]


class TemplateStatsView(TypedDict):
    """What incidents say of a template."""

    template: str
    incidents: int
    mended: int
    mttr_s: float | None
    rungs: list[RungStatsView]
    problems: list[str]


class TemplateView(TypedDict):
    """A template that can be spawned."""

    name: str
    origin: str
    path: str
    description: str
    shadowed: bool


class ThingView(TypedDict):
    """A thing on this host and what it is taken for."""

    kind: Literal['process', 'container', 'network', 'port', 'session', 'image', 'volume', 'temp', 'worktree']
    name: str
    key: str
    agent: str
    verdict: Literal['tracked', 'young', 'orphan', 'foreign', 'unknown']
    quarantined: bool
    age_s: float | None
    bytes: int | None
    reason: str
    next: str


class TopicView(TypedDict):
    """A topic, or that there is one."""

    name: str
    summary: str
    text: str


class UndoView(TypedDict):
    """What was brought back, or what can be."""

    restored: AgentView | None
    snapshots: list[SnapshotView]
    before: int


class UnitHealth(TypedDict):
    """One service, or one instance of it."""

    name: str
    kind: str
    state: str
    detail: str
    since: float | None
    probes: list[str]
    looks: int
    ready_rate: float | None
    live_rate: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    restarts: int


class UnitResult(TypedDict):
    """What happened to one unit."""

    unit: str
    act: str
    detail: str


class UnitView(TypedDict):
    """A unit (a service, or an instance of one) that changes."""

    unit: str
    fate: str
    impact: str
    because: str
    fields: list[FieldView]


class UrlView(TypedDict):
    """Addresses of an agent's services."""

    name: str
    urls: dict[str, str]


class UsageView(TypedDict):
    """Of an attempt, or the most it may use; 0 is no limit."""

    tokens: int
    cost: float
    wall_s: float
    tool_calls: int
    file_changes: int


class ValidationView(TypedDict):
    """The result of checking a template."""

    ok: bool
    findings: list[FindingView]


class VersionView(TypedDict):
    """Versions of envmgr and of what it stands on."""

    envmgr: str
    python: str
    git: str
    tmux: str


class WaiterView(TypedDict):
    """Somebody who waits for locks."""

    holder: str
    targets: list[str]
    mode: str
    priority: str
    reason: str
    waited_s: float
    position: int


Where = Literal['repo', 'user']


class WhyTaskView(TypedDict):
    """Why a task is not being done."""

    task_id: str
    status: str
    ready: bool
    reasons: list[ObstacleView]
    lacking: list[str]
    deadline: str


class WhyView(TypedDict):
    """State, evidence with age, last decisions, and what comes next."""

    agent: AgentView
    evidence: EvidenceView | None
    steps: list[AgentsStepView]
    decisions: list[EventView]
    next: str


class WrittenView(TypedDict):
    """It is kept."""

    ok: bool
    success: bool
    handoff_id: str
    branch: str
    head: str
    snapshot: str
    locks: list[str]
    transferred: list[str]
    transferred_to: str


class Operations:
    """All operations; how a call travels is the subclass's to say."""

    def _call(
        self,
        method: str,
        path: str,
        asked: Mapping[str, object],
        *,
        repeats: bool = False,
        key: str = "",
        waits_s: float = 0.0,
    ) -> Any:
        raise NotImplementedError

    def _stream(self, method: str, path: str, asked: Mapping[str, object]) -> Generator[Any, None, None]:
        raise NotImplementedError

    def acquire_lock(
        self,
        *,
        targets: list[str] | None = None,
        file_path: str | None = None,
        key: str | None = None,
        repo: str | None = None,
        mode: Literal['read', 'intent', 'write'] | None = None,
        ttl_minutes: int | None = None,
        reason: str | None = None,
        wait_s: float | None = None,
        priority: Literal['high', 'normal', 'low'] | None = None,
        task_id: str | None = None,
        session_id: str | None = None,
    ) -> LockAnswer:
        """Lock files or keys before changing them: all of them or none.

        Args:
            targets: Paths, folders, patterns or keys such as `src/app.py`, `src/**/*.py`, `db:users`; see
                lock-targets
            file_path: One path, instead of targets
            key: One key, instead of targets
            repo: Folder inside the repository
            mode: read: shared; intent: announced; write: exclusive
            ttl_minutes: Minutes it lasts without a sign of life
            reason: What for: others see it
            wait_s: Seconds to wait for it
            priority: Class among those who wait
            task_id: Task it is for: it ends with that
            session_id: Session of the agent that asks
        """
        return cast('LockAnswer', self._call("POST", "/api/v1/locks/acquire", {'targets': targets, 'file_path': file_path, 'key': key, 'repo': repo, 'mode': mode, 'ttl_minutes': ttl_minutes, 'reason': reason, 'wait_s': wait_s, 'priority': priority, 'task_id': task_id, 'session_id': session_id}, waits_s=wait_s or 0.0))

    def agent_apply(
        self,
        *,
        agent: str,
        environment: dict[str, str] | None = None,
        yes: bool | None = None,
        plan: str | None = None,
    ) -> AppliedView:
        """Bring a running agent to what its template says now: exactly what `envmgr plan AGENT` prints, or nothing.

        Args:
            agent: Name, id, or a unique beginning of either
            environment: Environment of the asking person
            yes: Also what parts a service from its volume
            plan: Only if this is still the plan: its fingerprint, as `envmgr plan` prints it
        """
        return cast('AppliedView', self._call("POST", "/api/v1/agents/{agent}/apply", {'agent': agent, 'environment': environment, 'yes': yes, 'plan': plan}))

    def agent_attach(
        self,
        *,
        agent: str,
        window: str | None = None,
        again: bool | None = None,
    ) -> AttachView:
        """Go into the agent's terminal; C-] or F10 leaves it, and the agent goes on.

        Args:
            agent: Name, id, or a unique beginning of either
            window: agent, services or monitor
            again: Into the session that has come in the place of another one; no hooks
        """
        return cast('AttachView', self._call("POST", "/api/v1/agents/{agent}/attach", {'agent': agent, 'window': window, 'again': again}))

    def agent_drift(
        self,
        *,
        agent: str | None = None,
    ) -> DriftListView:
        """Look for drift now: edited templates, containers and processes changed behind our back, new lock files, a base that moved on.

        Args:
            agent: Name, id, or a unique beginning of either; all running agents when left out
        """
        return cast('DriftListView', self._call("POST", "/api/v1/drift", {'agent': agent}, repeats=True))

    def agent_env(
        self,
        *,
        agent: str,
        reveal: bool | None = None,
        environment: dict[str, str] | None = None,
    ) -> EnvView:
        """Print the agent's environment: ports, URLs, connection strings; secrets are masked.

        Args:
            agent: Name, id, or a unique beginning of either
            reveal: Show the values of secrets
            environment: Environment of the asking person
        """
        return cast('EnvView', self._call("POST", "/api/v1/agents/{agent}/env", {'agent': agent, 'reveal': reveal, 'environment': environment}, repeats=True))

    def agent_exec(
        self,
        *,
        agent: str,
        command: list[str],
        service: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> EnvView:
        """Run a command in the agent's worktree with its environment; the command line does the running.

        Args:
            agent: Name, id, or a unique beginning of either
            command: Command and arguments, after --
            service: Inside of this service's container, or with its environment
            environment: Environment of the asking person
        """
        return cast('EnvView', self._call("POST", "/api/v1/agents/{agent}/exec", {'agent': agent, 'command': command, 'service': service, 'environment': environment}))

    def agent_fork(
        self,
        *,
        agent: str,
        count: int | None = None,
        name: str | None = None,
        prompt: str | None = None,
        prompt_file: str | None = None,
        volumes: bool | None = None,
        wait: bool | None = None,
        repo: str | None = None,
        environment: dict[str, str] | None = None,
        request: str | None = None,
    ) -> Generator[SpawnItem, None, None]:
        """Start agents from the present state of one: its files with uncommitted work, its volumes, its template.

        Args:
            agent: Name, id, or a unique beginning of either
            count: How many forks
            name: Name of the fork; with --count a number is added
            prompt: First prompt of the forks; without one they wait
            prompt_file: File that holds the first prompt, `-` for standard input
            volumes: Give the forks copies of its volumes; else theirs begin as the template says
            wait: Wait until the forks run
            repo: Folder that a prompt file is relative to
            environment: Environment of the asking person
            request: Id that events of this request carry as `cause`
        """
        return self._stream("POST", "/api/v1/agents/{agent}/fork", {'agent': agent, 'count': count, 'name': name, 'prompt': prompt, 'prompt_file': prompt_file, 'volumes': volumes, 'wait': wait, 'repo': repo, 'environment': environment, 'request': request})

    def agent_health(
        self,
        *,
        agent: str,
        service: str | None = None,
        since: str | None = None,
    ) -> AgentHealth:
        """Show how an agent's services are and have been, as their probes saw it.

        Args:
            agent: Name, id, or a unique beginning of either
            service: Only this service
            since: How far to look back: 90s, 30m, 6h, 2d
        """
        return cast('AgentHealth', self._call("GET", "/api/v1/agents/{agent}/health", {'agent': agent, 'service': service, 'since': since}, repeats=True))

    def agent_list(
        self,
        *,
        all: bool | None = None,
    ) -> AgentList:
        """List the agents of this host.

        Args:
            all: Stopped ones too; --no-all leaves them out
        """
        return cast('AgentList', self._call("GET", "/api/v1/agents", {'all': all}, repeats=True))

    def agent_logs(
        self,
        *,
        agent: str,
        service: str | None = None,
        follow: bool | None = None,
        lines: int | None = None,
    ) -> Generator[LogLine, None, None]:
        """Print what the agent's services, set-up and hooks wrote, and follow it.

        Args:
            agent: Name, id, or a unique beginning of either
            service: Service; `hooks` is set-up and hooks; `agent` is the assistant's screen; all but that
                when left out
            follow: Go on as it grows
            lines: Lines from the end to begin with
        """
        return self._stream("GET", "/api/v1/agents/{agent}/logs", {'agent': agent, 'service': service, 'follow': follow, 'lines': lines})

    def agent_plan(
        self,
        *,
        agent: str,
        environment: dict[str, str] | None = None,
    ) -> ReloadView:
        """Print what differs between a running agent and its template, with the effect of each field and who follows.

        Args:
            agent: Name, id, or a unique beginning of either
            environment: Environment of the asking person
        """
        return cast('ReloadView', self._call("POST", "/api/v1/agents/{agent}/plan", {'agent': agent, 'environment': environment}, repeats=True))

    def agent_recover(
        self,
        *,
        agent: str | None = None,
        from_: Literal['service', 'session', 'realloc', 'respawn'] | None = None,
        dry_run: bool | None = None,
        reset_budget: bool | None = None,
        all: bool | None = None,
    ) -> RecoveryView:
        """Take a measure of the recovery ladder now, whatever the budgets say; or tell which one would be taken.

        Args:
            agent: Name or id
            from_: Take this measure: service, session, realloc or respawn; without it the mildest that can
                help
            dry_run: Only tell what would be done, and what is left of the budgets
            reset_budget: Forget how often measures were taken already
            all: Leave safe mode: envmgr mends by itself again
        """
        return cast('RecoveryView', self._call("POST", "/api/v1/recover", {'agent': agent, 'from_': from_, 'dry_run': dry_run, 'reset_budget': reset_budget, 'all': all}))

    def agent_restart(
        self,
        *,
        agent: str,
        services: list[str] | None = None,
        followers: bool | None = None,
        environment: dict[str, str] | None = None,
    ) -> ChangedView:
        """Restart services of a running agent; worktree, ports, session and assistant stay as they are.

        Args:
            agent: Name, id, or a unique beginning of either
            services: Services, or instances such as api-1; all that run on when left out
            followers: Restart dependants whose edge says `restart`, too
            environment: Environment of the asking person
        """
        return cast('ChangedView', self._call("POST", "/api/v1/agents/{agent}/restart", {'agent': agent, 'services': services, 'followers': followers, 'environment': environment}))

    def agent_rm(
        self,
        *,
        agents: list[str] | None = None,
        all: bool | None = None,
        stop: bool | None = None,
        volumes: bool | None = None,
        discard: str | None = None,
    ) -> RemovedList:
        """Remove stopped agents with their worktrees; a snapshot is kept, and `envmgr undo` brings it back.

        Args:
            agents: Whole names or ids
            all: All of them
            stop: Stop them first if they run
            volumes: Keep a copy of their volumes, for `undo`
            discard: Name of the agent whose uncommitted or unpushed work may go (a snapshot is kept)
        """
        return cast('RemovedList', self._call("POST", "/api/v1/agents/rm", {'agents': agents, 'all': all, 'stop': stop, 'volumes': volumes, 'discard': discard}))

    def agent_scale(
        self,
        *,
        agent: str,
        counts: list[str],
        shared_volumes: bool | None = None,
        environment: dict[str, str] | None = None,
    ) -> ChangedView:
        """Run another number of instances of a service, 1 to 10; the highest go first and the others run on.

        Args:
            agent: Name, id, or a unique beginning of either
            counts: SERVICE=N, such as api=3; N from 1 to 10
            shared_volumes: Let several instances write to the same named volume: only if the program is made
                for that
            environment: Environment of the asking person
        """
        return cast('ChangedView', self._call("POST", "/api/v1/agents/{agent}/scale", {'agent': agent, 'counts': counts, 'shared_volumes': shared_volumes, 'environment': environment}))

    def agent_send(
        self,
        *,
        agent: str,
        prompt: str,
        force: bool | None = None,
    ) -> Done:
        """Give the assistant a prompt, as one paste, and see that it was taken.

        Args:
            agent: Name, id, or a unique beginning of either
            prompt: The prompt; `-` reads standard input
            force: Also when the assistant is not known to be ready
        """
        return cast('Done', self._call("POST", "/api/v1/agents/{agent}/send", {'agent': agent, 'prompt': prompt, 'force': force}))

    def agent_show(
        self,
        *,
        agent: str,
    ) -> AgentView:
        """Show one agent: state, worktree, services, addresses.

        Args:
            agent: Name, id, or a unique beginning of either
        """
        return cast('AgentView', self._call("GET", "/api/v1/agents/{agent}", {'agent': agent}, repeats=True))

    def agent_spawn(
        self,
        *,
        template: str | None = None,
        name: str | None = None,
        base: str | None = None,
        branch: str | None = None,
        param: list[str] | None = None,
        profile: list[str] | None = None,
        prompt: str | None = None,
        prompt_file: str | None = None,
        count: int | None = None,
        wait: bool | None = None,
        dry_run: bool | None = None,
        repo: str | None = None,
        environment: dict[str, str] | None = None,
        request: str | None = None,
    ) -> Generator[SpawnItem, None, None]:
        """Give agents a living environment each: worktree, ports, services, terminal, assistant.

        Args:
            template: Template name or path
            name: Name of the agent; with --count a number is added
            base: Commit, tag or branch to start from
            branch: Branch to create
            param: Template parameter as key=value; may be repeated
            profile: Profile of the template to choose; may be repeated
            prompt: First prompt
            prompt_file: File that holds the first prompt, `-` for standard input
            count: How many agents
            wait: Wait until the agents run
            dry_run: Print the plan and change nothing
            repo: Folder inside the repository
            environment: Environment of the spawning person
            request: Id that events of this request carry as `cause`
        """
        return self._stream("POST", "/api/v1/agents", {'template': template, 'name': name, 'base': base, 'branch': branch, 'param': param, 'profile': profile, 'prompt': prompt, 'prompt_file': prompt_file, 'count': count, 'wait': wait, 'dry_run': dry_run, 'repo': repo, 'environment': environment, 'request': request})

    def agent_start(
        self,
        *,
        agents: list[str] | None = None,
        all: bool | None = None,
        wait: bool | None = None,
        environment: dict[str, str] | None = None,
    ) -> AgentList:
        """Start stopped agents again, on the worktrees and ports they had.

        Args:
            agents: Names, ids, or unique beginnings of either
            all: All of them
            wait: Wait until they run
            environment: Environment of the asking person
        """
        return cast('AgentList', self._call("POST", "/api/v1/agents/start", {'agents': agents, 'all': all, 'wait': wait, 'environment': environment}))

    def agent_stop(
        self,
        *,
        agents: list[str] | None = None,
        all: bool | None = None,
        wait: bool | None = None,
    ) -> AgentList:
        """Stop agents and give back everything they hold, verified; their worktrees stay.

        Args:
            agents: Names, ids, or unique beginnings of either
            all: All of them
            wait: Wait for the verified end
        """
        return cast('AgentList', self._call("POST", "/api/v1/agents/stop", {'agents': agents, 'all': all, 'wait': wait}))

    def agent_undo(
        self,
        *,
        agent: str | None = None,
        snapshot: str | None = None,
        list: bool | None = None,
        restart: bool | None = None,
        environment: dict[str, str] | None = None,
    ) -> UndoView:
        """Bring back what was: a removed agent, or the files an agent had before its last restore, respawn or reallocation.

        Args:
            agent: Name of an agent, there or removed, or a snapshot's number; the agent removed last when
                left out
            snapshot: Number or name of its snapshot; the newest that envmgr took when left out
            list: Only list what can be brought back
            restart: Stop the agent first if it runs, and start it again afterwards
            environment: Environment of the asking person
        """
        return cast('UndoView', self._call("POST", "/api/v1/undo", {'agent': agent, 'snapshot': snapshot, 'list': list, 'restart': restart, 'environment': environment}))

    def agent_url(
        self,
        *,
        agent: str,
        service: str | None = None,
    ) -> UrlView:
        """Print the addresses of the agent's services.

        Args:
            agent: Name, id, or a unique beginning of either
            service: Only this service
        """
        return cast('UrlView', self._call("GET", "/api/v1/agents/{agent}/url", {'agent': agent, 'service': service}, repeats=True))

    def agent_why(
        self,
        *,
        agent: str,
    ) -> WhyView:
        """Explain an agent's state: evidence with its age, the last decisions, and what comes next.

        Args:
            agent: Name, id, or a unique beginning of either
        """
        return cast('WhyView', self._call("GET", "/api/v1/agents/{agent}/why", {'agent': agent}, repeats=True))

    def archive_list(
        self,
        *,
        agent: str | None = None,
    ) -> ArchiveList:
        """List sessions that have ended, oldest first: those of agents that are there, and of removed ones.

        Args:
            agent: Name or id of an agent, removed ones too; all when left out
        """
        return cast('ArchiveList', self._call("GET", "/api/v1/archive", {'agent': agent}, repeats=True))

    def archive_pin(
        self,
        *,
        entry: str,
        off: bool | None = None,
    ) -> ArchiveEntryView:
        """Keep an entry until you delete it, however old it is; --off lets it go like the others.

        Args:
            entry: AGENT@GENERATION, its number, or an agent's name for its newest
            off: Keep it no longer than others
        """
        return cast('ArchiveEntryView', self._call("POST", "/api/v1/archive/{entry}/pin", {'entry': entry, 'off': off}))

    def archive_restore(
        self,
        *,
        entry: str,
        name: str | None = None,
        branch: str | None = None,
    ) -> AgentView:
        """Bring a session's workspace back as a stopped agent: branch, files with uncommitted work, and spec as they were.

        Args:
            entry: AGENT@GENERATION, its number, or an agent's name for its newest
            name: Name of the agent; its old one when left out
            branch: Branch of the worktree; its old one when left out
        """
        return cast('AgentView', self._call("POST", "/api/v1/archive/{entry}/restore", {'entry': entry, 'name': name, 'branch': branch}))

    def archive_rm(
        self,
        *,
        entries: list[str],
    ) -> ArchiveRemovedView:
        """Delete entries for good: logs, records, and the ref that keeps the files.

        Args:
            entries: AGENT@GENERATION, or numbers
        """
        return cast('ArchiveRemovedView', self._call("POST", "/api/v1/archive/rm", {'entries': entries}))

    def archive_show(
        self,
        *,
        entry: str,
        logs: str | None = None,
        lines: int | None = None,
    ) -> ArchiveShowView:
        """Show how a session ended, what was made in it, and what is kept of it; or what one of its services wrote.

        Args:
            entry: AGENT@GENERATION, its number, or an agent's name for its newest
            logs: Print what this service wrote; `agent` is the assistant's last screen
            lines: Only so many lines of it, the last ones; 0 for all
        """
        return cast('ArchiveShowView', self._call("GET", "/api/v1/archive/{entry}", {'entry': entry, 'logs': logs, 'lines': lines}, repeats=True))

    def audit_check(
        self,
        *,
        proof: str,
        key: str | None = None,
    ) -> ProofVerdict:
        """Check a proof of `audit prove`; needs no daemon and no database. Ends with 1 when it does not hold.

        Args:
            proof: The proof as JSON; on the command line the file with it, `-` for standard input
            key: Public key in hexadecimal, as the owner of the trail has told it
        """
        return cast('ProofVerdict', self._call("POST", "/api/v1/audit/check", {'proof': proof, 'key': key}, repeats=True))

    def cancel_work(
        self,
        *,
        task_id: str,
        repo: str | None = None,
        reason: str | None = None,
        dependents: Literal['block', 'cancel', 'continue'] | None = None,
    ) -> ReportView:
        """Call a task off, and with it those that wait for it; whoever works on it is told to stop.

        Args:
            task_id: Such as t-000123
            repo: Folder inside the repository
            reason: Why
            dependents: What happens to tasks that wait for it
        """
        return cast('ReportView', self._call("POST", "/api/v1/tasks/{task_id}/cancel", {'task_id': task_id, 'repo': repo, 'reason': reason, 'dependents': dependents}))

    def capacity(
        self,
        *,
        template: str | None = None,
        param: list[str] | None = None,
        repo: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> CapacityView:
        """Tell how many more agents fit on this host, what runs out first, and how that is known.

        Args:
            template: Template of the agents to come; without it: agents like those that run
            param: Template parameter as key=value; may be repeated
            repo: Folder inside the repository
            environment: Environment of the asking person
        """
        return cast('CapacityView', self._call("POST", "/api/v1/capacity", {'template': template, 'param': param, 'repo': repo, 'environment': environment}, repeats=True))

    def check_locks(
        self,
        *,
        targets: list[str] | None = None,
        file_paths: list[str] | None = None,
        mode: Literal['read', 'intent', 'write'] | None = None,
        mine: bool | None = None,
        all: bool | None = None,
        tokens: list[int] | None = None,
        repo: str | None = None,
    ) -> LockList:
        """See which locks are held, by whom and for how long, and who waits.

        Args:
            targets: Only what overlaps these, and what would be in the caller's way
            file_paths: Same as targets
            mode: For what would be in the way
            mine: Only the caller's own
            all: Of all repositories
            tokens: Which of these are stale?
            repo: Folder inside the repository
        """
        return cast('LockList', self._call("GET", "/api/v1/locks", {'targets': targets, 'file_paths': file_paths, 'mode': mode, 'mine': mine, 'all': all, 'tokens': tokens, 'repo': repo}, repeats=True))

    def complete_work(
        self,
        *,
        task_id: str,
        repo: str | None = None,
        lease_token: int | None = None,
        usage: Limits | None = None,
        success: bool | None = None,
        result: dict[str, Any] | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        files_changed: list[str] | None = None,
        agent_id: str | None = None,
    ) -> ReportView:
        """Tell that a task is done, or with success=false that nobody can do it; what waited for it becomes ready.

        Args:
            task_id: Such as t-000123
            repo: Folder inside the repository
            lease_token: As the claim answered it; without it, the task must be yours in this very session
            usage: What this attempt used so far, as JSON
            success: False (--no-success): it cannot be done, by anybody
            result: What came of it, as JSON; up to 64 KiB
            error_code: A word for programs; cancelled_by_orchestrator calls the task off
            error_message: What went wrong
            files_changed: Files that were changed
            agent_id: Ignored: your key says who you are
        """
        return cast('ReportView', self._call("POST", "/api/v1/tasks/{task_id}/complete", {'task_id': task_id, 'repo': repo, 'lease_token': lease_token, 'usage': usage, 'success': success, 'result': result, 'error_code': error_code, 'error_message': error_message, 'files_changed': files_changed, 'agent_id': agent_id}))

    def daemon_info(
        self,
    ) -> DaemonView:
        """Describe the daemon that answers.
        """
        return cast('DaemonView', self._call("GET", "/api/v1/daemon", {}, repeats=True))

    def daemon_logs(
        self,
        *,
        follow: bool | None = None,
        lines: int | None = None,
    ) -> Generator[LogLine, None, None]:
        """Print the daemon's log.

        Args:
            follow: Go on as it grows
            lines: Lines from the end to begin with
        """
        return self._stream("GET", "/api/v1/daemon/logs", {'follow': follow, 'lines': lines})

    def daemon_shutdown(
        self,
    ) -> Done:
        """End the daemon after this answer; agents go on.
        """
        return cast('Done', self._call("POST", "/api/v1/daemon/stop", {}))

    def daemon_status(
        self,
    ) -> DaemonView:
        """Tell whether the daemon runs.
        """
        return cast('DaemonView', self._call("GET", "/api/v1/daemon/status", {}, repeats=True))

    def discover_agents(
        self,
        *,
        capability: str | None = None,
        status: Literal['', 'active', 'idle', 'awaiting_input', 'stale', 'dead'] | None = None,
        path: str | None = None,
        everywhere: bool | None = None,
        repo: str | None = None,
    ) -> SessionList:
        """Show who else works on this repository: what each can do, is at, and holds.

        Args:
            capability: Only those that can do this
            status: Only these; without it all that are not over
            path: Only those that have locked it, or something in it
            everywhere: Of all repositories
            repo: Folder inside the repository
        """
        return cast('SessionList', self._call("GET", "/api/v1/sessions", {'capability': capability, 'status': status, 'path': path, 'everywhere': everywhere, 'repo': repo}, repeats=True))

    def doctor(
        self,
    ) -> DoctorView:
        """Check what envmgr stands on, and say how to mend each finding.
        """
        return cast('DoctorView', self._call("GET", "/api/v1/doctor", {}, repeats=True))

    def down(
        self,
        *,
        agents: bool | None = None,
    ) -> Done:
        """End the daemon; with --agents all agents are stopped first, verified.

        Args:
            agents: Stop all agents first; without it they go on
        """
        return cast('Done', self._call("POST", "/api/v1/down", {'agents': agents}))

    def events(
        self,
        *,
        agent: str | None = None,
        after: int | None = None,
        follow: bool | None = None,
        limit: int | None = None,
    ) -> Generator[EventView, None, None]:
        """Print what happened, oldest first, and follow it; resumable by sequence number.

        Args:
            agent: Only this agent's
            after: Only those with a higher sequence number
            follow: Go on as they happen
            limit: At most so many when not following
        """
        return self._stream("GET", "/api/v1/events", {'agent': agent, 'after': after, 'follow': follow, 'limit': limit})

    def events_add(
        self,
        *,
        notes: list[Note],
    ) -> Done:
        """Record notes as events; durable when answered, all of them or none.

        Args:
            notes: In order; stored together or not at all
        """
        return cast('Done', self._call("POST", "/api/v1/events", {'notes': notes}))

    def export_audit(
        self,
        *,
        last: str | None = None,
        since: str | None = None,
        until: str | None = None,
        actor: str | None = None,
        agent: str | None = None,
        operation: str | None = None,
        target: str | None = None,
        decision: Literal['', 'allowed', 'denied'] | None = None,
        outcome: str | None = None,
        request: str | None = None,
    ) -> Generator[AuditRow, None, None]:
        """Write rows as JSON lines, oldest first, so that others can make their hashes again.

        Args:
            last: Only of the last 30m, 6h, 2d
            since: Since 2026-11-20T18:00:00Z, or 2d for two days ago
            until: Before such a moment
            actor: Id or name of whoever asked
            agent: Name or id of an agent, also of one that is gone
            operation: Name of an operation or its tool, or the beginning of several, such as `lock.`
            target: Part of what it was about
            decision: allowed or denied
            outcome: ok, or the code or reason why not
            request: Id of a request
        """
        return self._stream("GET", "/api/v1/audit/export", {'last': last, 'since': since, 'until': until, 'actor': actor, 'agent': agent, 'operation': operation, 'target': target, 'decision': decision, 'outcome': outcome, 'request': request})

    def fail_work(
        self,
        *,
        task_id: str,
        repo: str | None = None,
        lease_token: int | None = None,
        usage: Limits | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        result: dict[str, Any] | None = None,
        retry: bool | None = None,
    ) -> ReportView:
        """Tell that this attempt failed: the task is tried again after a pause, and is dead after its last attempt.

        Args:
            task_id: Such as t-000123
            repo: Folder inside the repository
            lease_token: As the claim answered it; without it, the task must be yours in this very session
            usage: What this attempt used so far, as JSON
            error_code: A word for programs
            error_message: What went wrong
            result: What there is nevertheless, as JSON; up to 64 KiB
            retry: Let another attempt be made
        """
        return cast('ReportView', self._call("POST", "/api/v1/tasks/{task_id}/fail", {'task_id': task_id, 'repo': repo, 'lease_token': lease_token, 'usage': usage, 'error_code': error_code, 'error_message': error_message, 'result': result, 'retry': retry}))

    def force_release_lock(
        self,
        *,
        targets: list[str] | None = None,
        file_path: str | None = None,
        key: str | None = None,
        repo: str | None = None,
        reason: str | None = None,
    ) -> LocksView:
        """Release locks of somebody else; they are told why, and their tokens are refused from now on.

        Args:
            targets: Paths, folders, patterns or keys such as `src/app.py`, `src/**/*.py`, `db:users`; see
                lock-targets
            file_path: One path, instead of targets
            key: One key, instead of targets
            repo: Folder inside the repository
            reason: Why: the former holder is told
        """
        return cast('LocksView', self._call("POST", "/api/v1/locks/force", {'targets': targets, 'file_path': file_path, 'key': key, 'repo': repo, 'reason': reason}))

    def forget(
        self,
        *,
        memory_id: str,
        dry_run: bool | None = None,
        repo: str | None = None,
    ) -> ForgottenView:
        """Forget a memory for good; agents may forget their own.

        Args:
            memory_id: Such as m-000012
            dry_run: Only tell what would be forgotten
            repo: Folder inside the repository
        """
        return cast('ForgottenView', self._call("DELETE", "/api/v1/memory/{memory_id}", {'memory_id': memory_id, 'dry_run': dry_run, 'repo': repo}))

    def get_task(
        self,
        *,
        task_id: str,
        repo: str | None = None,
    ) -> TaskViewsTaskView:
        """Show a task: what is to be done, who has it, what it waits for, every attempt and what came of it.

        Args:
            task_id: Such as t-000123
            repo: Folder inside the repository
        """
        return cast('TaskViewsTaskView', self._call("GET", "/api/v1/tasks/{task_id}", {'task_id': task_id, 'repo': repo}, repeats=True))

    def get_work(
        self,
        *,
        task_types: list[str] | None = None,
        capabilities: list[str] | None = None,
        agent_id: str | None = None,
        agent_type: str | None = None,
        repo: str | None = None,
    ) -> ClaimView:
        """Get the next task you can do; it is yours alone until its lease ends.

        Args:
            task_types: Only these types
            capabilities: What you are able to
            agent_id: Ignored: your key says who you are
            agent_type: Ignored
            repo: Folder inside the repository
        """
        return cast('ClaimView', self._call("POST", "/api/v1/tasks/claim", {'task_types': task_types, 'capabilities': capabilities, 'agent_id': agent_id, 'agent_type': agent_type, 'repo': repo}))

    def heartbeat(
        self,
        *,
        session_id: str | None = None,
        status: Literal['', 'active', 'idle', 'awaiting_input'] | None = None,
        current_task: str | None = None,
        note: str | None = None,
        repo: str | None = None,
    ) -> PulseView:
        """Say that you are alive, and hear what you should know: warnings, messages, and whether you must stop.

        Args:
            session_id: As registered
            status: active, idle or awaiting_input
            current_task: Id or words of what you are at
            note: Anything that others should know
            repo: Folder inside the repository
        """
        return cast('PulseView', self._call("POST", "/api/v1/sessions/heartbeat", {'session_id': session_id, 'status': status, 'current_task': current_task, 'note': note, 'repo': repo}))

    def heartbeat_task(
        self,
        *,
        task_id: str,
        repo: str | None = None,
        lease_token: int | None = None,
        usage: Limits | None = None,
        status: Literal['running', 'verifying'] | None = None,
    ) -> ReportView:
        """Tell that you are still at a task: its lease begins anew. Stop when the answer says must_stop.

        Args:
            task_id: Such as t-000123
            repo: Folder inside the repository
            lease_token: As the claim answered it; without it, the task must be yours in this very session
            usage: What this attempt used so far, as JSON
            status: verifying: the work is done and is being checked
        """
        return cast('ReportView', self._call("POST", "/api/v1/tasks/{task_id}/heartbeat", {'task_id': task_id, 'repo': repo, 'lease_token': lease_token, 'usage': usage, 'status': status}))

    def help(
        self,
        *,
        topic: str | None = None,
    ) -> HelpView:
        """Explain how agents coordinate: all topics in a line each, or one topic, tool or operation in full.

        Args:
            topic: A topic, or the name of a tool, an operation or a command
        """
        return cast('HelpView', self._call("GET", "/api/v1/help", {'topic': topic}, repeats=True))

    def host_health(
        self,
    ) -> HealthView:
        """Show how envmgr itself is, part by part.
        """
        return cast('HealthView', self._call("GET", "/api/v1/health", {}, repeats=True))

    def host_live(
        self,
    ) -> LiveView:
        """Tell that the daemon answers; if it does not for long, restart it: agents go on.
        """
        return cast('LiveView', self._call("GET", "/api/v1/live", {}, repeats=True))

    def host_ready(
        self,
    ) -> LiveView:
        """Tell that work may be sent: agents are adopted and the store takes changes; else it is unavailable, with the reason.
        """
        return cast('LiveView', self._call("GET", "/api/v1/ready", {}, repeats=True))

    def host_safe_mode(
        self,
        *,
        set: Literal['', 'on', 'off'] | None = None,
    ) -> SafeModeView:
        """Show safe mode, or switch it: on, nothing is spawned and nothing mended by itself; what runs goes on.

        Args:
            set: on or off; shown when left out
        """
        return cast('SafeModeView', self._call("POST", "/api/v1/safe-mode", {'set': set}))

    def incidents(
        self,
        *,
        agent: str | None = None,
        open: bool | None = None,
        since: str | None = None,
        show: int | None = None,
        stats: bool | None = None,
        limit: int | None = None,
    ) -> IncidentList:
        """List failures, what they were taken for, and what was done about them.

        Args:
            agent: Name or id of an agent, also of a removed one; all when left out
            open: Only those that are not over
            since: How far to look back: 90s, 30m, 6h, 2d
            show: One, by its number, with evidence and measures
            stats: By template: time to recovery, success of each measure, what repeats
            limit: At most so many
        """
        return cast('IncidentList', self._call("GET", "/api/v1/incidents", {'agent': agent, 'open': open, 'since': since, 'show': show, 'stats': stats, 'limit': limit}, repeats=True))

    def init(
        self,
        *,
        repo: str | None = None,
        force: bool | None = None,
        print: bool | None = None,
    ) -> InitView:
        """Look at the repository and write a fitting template with comments.

        Args:
            repo: Folder inside the repository
            force: Overwrite an existing template
            print: Print the template, write nothing
        """
        return cast('InitView', self._call("POST", "/api/v1/init", {'repo': repo, 'force': force, 'print': print}))

    def key_create(
        self,
        *,
        name: str,
        scopes: str | None = None,
        expires: str | None = None,
    ) -> NewKey:
        """Make a key for a program that asks over HTTP or MCP; it is shown once.

        Args:
            name: What to call the program
            scopes: With commas between them: read, operate, destroy, admin, locks, work, handoffs, sessions,
                memory, audit; * for all
            expires: Good for so long, such as 12h or 30d; without it until it is revoked
        """
        return cast('NewKey', self._call("POST", "/api/v1/keys", {'name': name, 'scopes': scopes, 'expires': expires}))

    def key_list(
        self,
        *,
        all: bool | None = None,
    ) -> Keys:
        """List keys of agents and programs, and when they were used last.

        Args:
            all: Also those that are good no longer
        """
        return cast('Keys', self._call("GET", "/api/v1/keys", {'all': all}, repeats=True))

    def key_revoke(
        self,
        *,
        key: str,
    ) -> KeyView:
        """Make a key worthless, at once; sessions, tasks and locks of its program end with it.

        Args:
            key: Its id, or the name of its program
        """
        return cast('KeyView', self._call("POST", "/api/v1/keys/{key}/revoke", {'key': key}))

    def list_handoffs(
        self,
        *,
        agent: str | None = None,
        task_id: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        repo: str | None = None,
    ) -> HandoffList:
        """List handoffs of this repository, newest first.

        Args:
            agent: Only of this agent, by name or id
            task_id: Only about this task
            before: Only older ones than this
            limit: At most so many, newest first
            repo: Folder inside the repository
        """
        return cast('HandoffList', self._call("GET", "/api/v1/handoffs", {'agent': agent, 'task_id': task_id, 'before': before, 'limit': limit, 'repo': repo}, repeats=True))

    def list_memories(
        self,
        *,
        tags: list[str] | None = None,
        files: list[str] | None = None,
        mine: bool | None = None,
        superseded: bool | None = None,
        limit: int | None = None,
        repo: str | None = None,
    ) -> MemoryList:
        """List the newest memories of this repository.

        Args:
            tags: Only those with one of these
            files: Only those about one of these files or folders
            mine: Only my own
            superseded: Also those whose place another one has taken
            limit: At most so many
            repo: Folder inside the repository
        """
        return cast('MemoryList', self._call("GET", "/api/v1/memory", {'tags': tags, 'files': files, 'mine': mine, 'superseded': superseded, 'limit': limit, 'repo': repo}, repeats=True))

    def list_tasks(
        self,
        *,
        status: list[Literal['blocked', 'scheduled', 'ready', 'claimed', 'running', 'verifying', 'paused', 'done', 'failed', 'cancelled', 'dead']] | None = None,
        open: bool | None = None,
        task_type: str | Literal[''] | None = None,
        mine: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        repo: str | None = None,
    ) -> TaskList:
        """List tasks, the newest first, a page at a time.

        Args:
            status: Only these
            open: Only those that are not over
            task_type: Only this type
            mine: Only those you have or had last
            limit: At most so many
            cursor: Go on after this task: `next` of the page before
            repo: Folder inside the repository
        """
        return cast('TaskList', self._call("GET", "/api/v1/tasks", {'status': status, 'open': open, 'task_type': task_type, 'mine': mine, 'limit': limit, 'cursor': cursor, 'repo': repo}, repeats=True))

    def lock_overlaps(
        self,
        *,
        targets: list[str] | None = None,
        pairs: list[Pair] | None = None,
    ) -> OverlapsView:
        """Tell whether two lock targets overlap, with a path or key that both match.

        Args:
            targets: Two targets, such as `src/**/*.py` and `src/api`; `-` reads pairs as JSON lines
            pairs: Pairs, each {"a": TARGET, "b": TARGET} or [TARGET, TARGET]
        """
        return cast('OverlapsView', self._call("POST", "/api/v1/locks/overlaps", {'targets': targets, 'pairs': pairs}, repeats=True))

    def maintain(
        self,
        *,
        tasks: list[str] | None = None,
        dry_run: bool | None = None,
    ) -> MaintainView:
        """Rotate logs, forget what is old, and give space back, as the daemon does each hour.

        Args:
            tasks: Names of tasks; all when left out
            dry_run: Only tell what would go
        """
        return cast('MaintainView', self._call("POST", "/api/v1/maintain", {'tasks': tasks, 'dry_run': dry_run}))

    def prove_audit(
        self,
        *,
        seq: int,
    ) -> AuditProof:
        """Prove that a row is in the trail, to somebody who has neither the database nor the other rows.

        Args:
            seq: Number of the row
        """
        return cast('AuditProof', self._call("GET", "/api/v1/audit/proof/{seq}", {'seq': seq}, repeats=True))

    def query_audit(
        self,
        *,
        last: str | None = None,
        since: str | None = None,
        until: str | None = None,
        actor: str | None = None,
        agent: str | None = None,
        operation: str | None = None,
        target: str | None = None,
        decision: Literal['', 'allowed', 'denied'] | None = None,
        outcome: str | None = None,
        request: str | None = None,
        limit: int | None = None,
        before: int | None = None,
    ) -> AuditPage:
        """Show who asked for what, and what came of it.

        Args:
            last: Only of the last 30m, 6h, 2d
            since: Since 2026-11-20T18:00:00Z, or 2d for two days ago
            until: Before such a moment
            actor: Id or name of whoever asked
            agent: Name or id of an agent, also of one that is gone
            operation: Name of an operation or its tool, or the beginning of several, such as `lock.`
            target: Part of what it was about
            decision: allowed or denied
            outcome: ok, or the code or reason why not
            request: Id of a request
            limit: At most so many
            before: Only rows with a smaller number
        """
        return cast('AuditPage', self._call("GET", "/api/v1/audit", {'last': last, 'since': since, 'until': until, 'actor': actor, 'agent': agent, 'operation': operation, 'target': target, 'decision': decision, 'outcome': outcome, 'request': request, 'limit': limit, 'before': before}, repeats=True))

    def read_handoff(
        self,
        *,
        handoff_id: str | None = None,
        agent: str | None = None,
        task_id: str | None = None,
        branch: str | None = None,
        limit: int | None = None,
        repo: str | None = None,
    ) -> HandoffList:
        """Read what the last session left, newest first; by id, agent, task or branch, or the newest of the repository.

        Args:
            handoff_id: One, such as h-000012; the newest that fits when left out
            agent: Only of this agent, by name or id
            task_id: Only about this task
            branch: Only about this branch
            limit: At most so many, newest first
            repo: Folder inside the repository
        """
        return cast('HandoffList', self._call("GET", "/api/v1/handoffs/newest", {'handoff_id': handoff_id, 'agent': agent, 'task_id': task_id, 'branch': branch, 'limit': limit, 'repo': repo}, repeats=True))

    def recall(
        self,
        *,
        query: str | None = None,
        event_types: list[str] | None = None,
        tags: list[str] | None = None,
        files: list[str] | None = None,
        near: list[str] | None = None,
        since: str | None = None,
        superseded: bool | None = None,
        min_relevance: float | None = None,
        limit: int | None = None,
        token_budget: int | None = None,
        repo: str | None = None,
    ) -> RecalledView:
        """Recall what is known here about something: best first, with `text` ready to be read by a model.

        Args:
            query: Any words: a question, names in the code, a path
            event_types: Only these
            tags: Only those with one of these
            files: Only those about one of these files, or about files in these folders
            near: Paths you are working on: memories about them come first
            since: Only those from the last 6h, 2d, ...
            superseded: Also those whose place another one has taken
            min_relevance: Only with this share of the best score
            limit: At most so many
            token_budget: Length of `text`, in tokens of a model
            repo: Folder inside the repository
        """
        return cast('RecalledView', self._call("POST", "/api/v1/memory/query", {'query': query, 'event_types': event_types, 'tags': tags, 'files': files, 'near': near, 'since': since, 'superseded': superseded, 'min_relevance': min_relevance, 'limit': limit, 'token_budget': token_budget, 'repo': repo}, repeats=True))

    def recent_changes(
        self,
        *,
        agent: str | None = None,
        since: str | None = None,
        limit: int | None = None,
        repo: str | None = None,
    ) -> ChangesView:
        """Show which files agents of this repository have written lately, and where somebody else had a lock.

        Args:
            agent: Of this agent only: name, id, or a unique beginning of either
            since: Only of the last such time: 90s, 30m, 6h
            limit: At most so many, the newest
            repo: Folder inside the repository
        """
        return cast('ChangesView', self._call("GET", "/api/v1/changes", {'agent': agent, 'since': since, 'limit': limit, 'repo': repo}, repeats=True))

    def register_session(
        self,
        *,
        capabilities: list[str] | None = None,
        current_task: str | None = None,
        session_id: str | None = None,
        kind: str | None = None,
        status: Literal['active', 'idle', 'awaiting_input'] | None = None,
        note: str | None = None,
        model: str | None = None,
        parent: str | None = None,
        worktree: str | None = None,
        branch: str | None = None,
        repo: str | None = None,
    ) -> RegisteredView:
        """Register this session, so that others find it; agents that envmgr has spawned are known already and may say more.

        Args:
            capabilities: What you can be given to do, such as python or review
            current_task: Id or words of what you are at
            session_id: A name for this session, when you have several at once
            kind: What you are, such as claude_code
            status: active, idle or awaiting_input
            note: Anything else
            model: Your model
            parent: Who began this session
            worktree: Folder you work in, if envmgr has not made it
            branch: Branch you work on
            repo: Folder inside the repository
        """
        return cast('RegisteredView', self._call("POST", "/api/v1/sessions", {'capabilities': capabilities, 'current_task': current_task, 'session_id': session_id, 'kind': kind, 'status': status, 'note': note, 'model': model, 'parent': parent, 'worktree': worktree, 'branch': branch, 'repo': repo}))

    def release_lock(
        self,
        *,
        targets: list[str] | None = None,
        file_path: str | None = None,
        key: str | None = None,
        repo: str | None = None,
        all: bool | None = None,
        token: int | None = None,
    ) -> ReleaseView:
        """Give locks back, and hear which changes under them are not committed yet.

        Args:
            targets: Paths, folders, patterns or keys such as `src/app.py`, `src/**/*.py`, `db:users`; see
                lock-targets
            file_path: One path, instead of targets
            key: One key, instead of targets
            repo: Folder inside the repository
            all: All that you hold in this repository
            token: Refuse unless this is its token
        """
        return cast('ReleaseView', self._call("POST", "/api/v1/locks/release", {'targets': targets, 'file_path': file_path, 'key': key, 'repo': repo, 'all': all, 'token': token}))

    def remember(
        self,
        *,
        summary: str,
        event_type: str | None = None,
        details: str | dict[str, Any] | None = None,
        outcome: Literal['', 'positive', 'negative', 'neutral', 'success', 'failure'] | None = None,
        lessons: list[str] | None = None,
        tags: list[str] | None = None,
        files: list[str] | None = None,
        importance: float | None = None,
        pin: bool | None = None,
        supersedes: str | None = None,
        task_id: str | None = None,
        repo: str | None = None,
    ) -> RememberedView:
        """Remember what was learned, for everybody who works on this repository.

        Args:
            summary: In a sentence or two
            event_type: Such as discovery, decision, error, success, optimization
            details: More about it
            outcome: positive, negative or neutral
            lessons: What to do, or not to do, next time
            tags: Words to find it by
            files: Paths that it is about
            importance: 0 to 1
            pin: It counts more than others, however old
            supersedes: Id of the memory whose place it takes
            task_id: The task in which it was learned
            repo: Folder inside the repository
        """
        return cast('RememberedView', self._call("POST", "/api/v1/memory", {'summary': summary, 'event_type': event_type, 'details': details, 'outcome': outcome, 'lessons': lessons, 'tags': tags, 'files': files, 'importance': importance, 'pin': pin, 'supersedes': supersedes, 'task_id': task_id, 'repo': repo}))

    def renew_lock(
        self,
        *,
        targets: list[str] | None = None,
        file_path: str | None = None,
        key: str | None = None,
        repo: str | None = None,
        ttl_minutes: int | None = None,
        token: int | None = None,
    ) -> LocksView:
        """Let locks last longer. Calls and hooks of an agent do that by themselves.

        Args:
            targets: Paths, folders, patterns or keys such as `src/app.py`, `src/**/*.py`, `db:users`; see
                lock-targets
            file_path: One path, instead of targets
            key: One key, instead of targets
            repo: Folder inside the repository
            ttl_minutes: Minutes from now
            token: Refuse unless this is its token
        """
        return cast('LocksView', self._call("POST", "/api/v1/locks/renew", {'targets': targets, 'file_path': file_path, 'key': key, 'repo': repo, 'ttl_minutes': ttl_minutes, 'token': token}))

    def resource_audit(
        self,
        *,
        kind: list[Literal['process', 'container', 'network', 'port', 'session', 'image', 'volume', 'temp', 'worktree']] | None = None,
        all: bool | None = None,
    ) -> AuditView:
        """List what is left over on this host; exit status 3 if something is.

        Args:
            kind: Only this sort: process, container, network, port, session, image, volume, temp, worktree
            all: List also what is as it should be, and what is of others
        """
        return cast('AuditView', self._call("GET", "/api/v1/resources", {'kind': kind, 'all': all}, repeats=True))

    def resource_reap(
        self,
        *,
        names: list[str] | None = None,
        dry_run: bool | None = None,
    ) -> ReapView:
        """Remove what is left over on this host.

        Args:
            names: Names of things, or of the agents that they were of; all when left out
            dry_run: Only tell what would go
        """
        return cast('ReapView', self._call("POST", "/api/v1/resources/reap", {'names': names, 'dry_run': dry_run}))

    def retry_work(
        self,
        *,
        task_id: str,
        repo: str | None = None,
        with_dependents: bool | None = None,
    ) -> RetryView:
        """Put a task back into the queue that failed, died, was cancelled, is paused, or rests before its next attempt.

        Args:
            task_id: Such as t-000123
            repo: Folder inside the repository
            with_dependents: And those that were cancelled because of it
        """
        return cast('RetryView', self._call("POST", "/api/v1/tasks/{task_id}/retry", {'task_id': task_id, 'repo': repo, 'with_dependents': with_dependents}))

    def skills_install(
        self,
        *,
        agents: str | None = None,
        scope: Where | None = None,
        repo: str | None = None,
    ) -> SkillsView:
        """Write short instructions on coordination for assistants, each where it looks for skills.

        Args:
            agents: Assistants, with commas between them: claude, codex, gemini, opencode
            scope: In this repository, or for all work of this user
            repo: Folder inside the repository
        """
        return cast('SkillsView', self._call("POST", "/api/v1/skills/install", {'agents': agents, 'scope': scope, 'repo': repo}))

    def skills_list(
        self,
        *,
        agents: str | None = None,
        scope: Where | None = None,
        repo: str | None = None,
    ) -> SkillsView:
        """Show where assistants look for the instructions on coordination, and whether they are there.

        Args:
            agents: Assistants, with commas between them: claude, codex, gemini, opencode
            scope: In this repository, or for all work of this user
            repo: Folder inside the repository
        """
        return cast('SkillsView', self._call("GET", "/api/v1/skills", {'agents': agents, 'scope': scope, 'repo': repo}, repeats=True))

    def skills_remove(
        self,
        *,
        agents: str | None = None,
        scope: Where | None = None,
        repo: str | None = None,
    ) -> SkillsView:
        """Take the instructions back that `skills install` wrote, with the folders it made; what a person changed stays.

        Args:
            agents: Assistants, with commas between them: claude, codex, gemini, opencode
            scope: In this repository, or for all work of this user
            repo: Folder inside the repository
        """
        return cast('SkillsView', self._call("POST", "/api/v1/skills/remove", {'agents': agents, 'scope': scope, 'repo': repo}))

    def snapshot_create(
        self,
        *,
        agent: str,
        name: str | None = None,
        volumes: bool | None = None,
    ) -> SnapshotView:
        """Save an agent's worktree and volumes as they are now, running or stopped.

        Args:
            agent: Name, id, or a unique beginning of either
            name: Name of the snapshot
            volumes: Save its volumes, too
        """
        return cast('SnapshotView', self._call("POST", "/api/v1/agents/{agent}/snapshots", {'agent': agent, 'name': name, 'volumes': volumes}))

    def snapshot_list(
        self,
        *,
        agent: str | None = None,
    ) -> SnapshotList:
        """List snapshots, oldest first: those you took, those that envmgr took before anything that might cost work, and for forks.

        Args:
            agent: Name of an agent, removed ones too; all when left out
        """
        return cast('SnapshotList', self._call("GET", "/api/v1/snapshots", {'agent': agent}, repeats=True))

    def snapshot_restore(
        self,
        *,
        agent: str,
        snapshot: str,
        restart: bool | None = None,
        environment: dict[str, str] | None = None,
    ) -> RestoredView:
        """Put a snapshot back into its agent: branch, index, files and volumes as they were.

        Args:
            agent: Whole name or id
            snapshot: Its number or name
            restart: Stop the agent first if it runs, and start it again afterwards
            environment: Environment of the asking person
        """
        return cast('RestoredView', self._call("POST", "/api/v1/agents/{agent}/snapshots/{snapshot}/restore", {'agent': agent, 'snapshot': snapshot, 'restart': restart, 'environment': environment}))

    def snapshot_rm(
        self,
        *,
        snapshots: list[str],
    ) -> RemovedSnapshots:
        """Delete snapshots for good: their volumes' copies and the ref that keeps their files.

        Args:
            snapshots: Numbers, or AGENT/NAME
        """
        return cast('RemovedSnapshots', self._call("POST", "/api/v1/snapshots/rm", {'snapshots': snapshots}))

    def submit_batch(
        self,
        *,
        tasks: list[BatchTask],
        idempotency_key: str | None = None,
        repo: str | None = None,
    ) -> BatchView:
        """Add tasks that may depend on each other: all of them, or none.

        Args:
            tasks: They may depend on each other by `key`
            idempotency_key: The same key submits once, and is answered the same
            repo: Folder inside the repository
        """
        return cast('BatchView', self._call("POST", "/api/v1/tasks/batch", {'tasks': tasks, 'idempotency_key': idempotency_key, 'repo': repo}, repeats=True, key="idempotency_key"))

    def submit_work(
        self,
        *,
        description: str,
        task_type: str | None = None,
        input_data: dict[str, Any] | None = None,
        priority: int | None = None,
        depends_on: list[str] | None = None,
        claims: list[str] | None = None,
        capabilities: list[str] | None = None,
        deadline: str | None = None,
        run_at: str | None = None,
        max_attempts: int | None = None,
        dependents: Literal['block', 'cancel', 'continue'] | None = None,
        budget: Limits | None = None,
        parent: str | None = None,
        discovered_from: str | None = None,
        related: list[str] | None = None,
        idempotency_key: str | None = None,
        repo: str | None = None,
    ) -> SubmittedView:
        """Add a task to the work queue.

        Args:
            description: What is to be done
            task_type: What kind of work it is, such as fix, test or review
            input_data: What its doer needs to know, as a JSON object; up to 256 KiB
            priority: 1 (most urgent) to 10
            depends_on: Tasks that must be done first: ids, or in a batch the keys of other tasks
            claims: Paths and keys that are locked for its doer, as in `lock acquire`
            capabilities: What its doer must be able to
            deadline: Fails when nobody has begun by then: RFC 3339, or 2h from now
            run_at: Not before: RFC 3339, or 30m from now
            max_attempts: Attempts before it is given up
            dependents: What its failure means for tasks that wait for it: block, cancel or continue
            budget: What one attempt may use, as JSON: tokens, cost, wall_s, tool_calls, file_changes
            parent: Task it is a part of
            discovered_from: Task during which it was found
            related: Other tasks it has to do with
            idempotency_key: The same key submits once, and is answered the same
            repo: Folder inside the repository
        """
        return cast('SubmittedView', self._call("POST", "/api/v1/tasks", {'description': description, 'task_type': task_type, 'input_data': input_data, 'priority': priority, 'depends_on': depends_on, 'claims': claims, 'capabilities': capabilities, 'deadline': deadline, 'run_at': run_at, 'max_attempts': max_attempts, 'dependents': dependents, 'budget': budget, 'parent': parent, 'discovered_from': discovered_from, 'related': related, 'idempotency_key': idempotency_key, 'repo': repo}, repeats=True, key="idempotency_key"))

    def task_graph(
        self,
        *,
        task_id: str | None = None,
        form: Literal['tree', 'dot'] | None = None,
        limit: int | None = None,
        repo: str | None = None,
    ) -> GraphView:
        """Show how tasks depend on each other, as a tree, as DOT for Graphviz, or with --json as nodes and edges.

        Args:
            task_id: Only what this task is tied to; all unfinished tasks when left out
            form: tree or dot
            limit: At most so many tasks
            repo: Folder inside the repository
        """
        return cast('GraphView', self._call("GET", "/api/v1/graph/tasks", {'task_id': task_id, 'form': form, 'limit': limit, 'repo': repo}, repeats=True))

    def template_explain(
        self,
        *,
        template: str,
        repo: str | None = None,
    ) -> ExplainedView:
        """Print each resolved field of a template and the file and line it comes from.

        Args:
            template: Name, or path of a file
            repo: Folder inside the repository
        """
        return cast('ExplainedView', self._call("GET", "/api/v1/templates/explain", {'template': template, 'repo': repo}, repeats=True))

    def template_import(
        self,
        *,
        files: list[str],
        format: str | None = None,
        profile: list[str] | None = None,
        service: list[str] | None = None,
        name: str | None = None,
        output: str | None = None,
        check: bool | None = None,
        force: bool | None = None,
        repo: str | None = None,
    ) -> ImportView:
        """Write a template from a compose file, a devcontainer.json, a Procfile or a process-compose.yaml.

        Args:
            files: Files of one format; later compose files lie on top of earlier ones
            format: compose, devcontainer, procfile or process-compose, if it cannot be told
            profile: Profile of the file whose services always take part; may be repeated
            service: Only this service and what it depends on; may be repeated
            name: Name of the template
            output: File to write instead, or - to print it
            check: Write nothing, report everything; fails when something would be lost
            force: Overwrite an existing template
            repo: Folder inside the repository
        """
        return cast('ImportView', self._call("POST", "/api/v1/templates/import", {'files': files, 'format': format, 'profile': profile, 'service': service, 'name': name, 'output': output, 'check': check, 'force': force, 'repo': repo}))

    def template_list(
        self,
        *,
        repo: str | None = None,
    ) -> TemplateListView:
        """List templates: the repository's, then yours, then the built-in ones; the first of a name counts.

        Args:
            repo: Folder inside the repository
        """
        return cast('TemplateListView', self._call("GET", "/api/v1/templates", {'repo': repo}, repeats=True))

    def template_schema(
        self,
        *,
        repo: str | None = None,
    ) -> SchemaView:
        """Print the JSON Schema of templates, for editors.

        Args:
            repo: Folder inside the repository
        """
        return cast('SchemaView', self._call("GET", "/api/v1/templates/schema", {'repo': repo}, repeats=True))

    def template_show(
        self,
        *,
        template: str,
        repo: str | None = None,
    ) -> SourceView:
        """Print a template as it is written.

        Args:
            template: Name, or path of a file
            repo: Folder inside the repository
        """
        return cast('SourceView', self._call("GET", "/api/v1/templates/show", {'template': template, 'repo': repo}, repeats=True))

    def template_validate(
        self,
        *,
        template: str,
        repo: str | None = None,
    ) -> ValidationView:
        """Check a template and report everything that is wrong, with file, line and column.

        Args:
            template: Name, or path of a file
            repo: Folder inside the repository
        """
        return cast('ValidationView', self._call("GET", "/api/v1/templates/validate", {'template': template, 'repo': repo}, repeats=True))

    def transfer_lock(
        self,
        *,
        targets: list[str] | None = None,
        file_path: str | None = None,
        key: str | None = None,
        repo: str | None = None,
        to_agent: str | None = None,
    ) -> LocksView:
        """Give locks to another agent, which is told; they get new tokens.

        Args:
            targets: Paths, folders, patterns or keys such as `src/app.py`, `src/**/*.py`, `db:users`; see
                lock-targets
            file_path: One path, instead of targets
            key: One key, instead of targets
            repo: Folder inside the repository
            to_agent: Name or id of the agent that gets it
        """
        return cast('LocksView', self._call("POST", "/api/v1/locks/transfer", {'targets': targets, 'file_path': file_path, 'key': key, 'repo': repo, 'to_agent': to_agent}))

    def verify_audit(
        self,
        *,
        last: str | None = None,
    ) -> AuditVerdict:
        """Look whether the audit trail is as it was written; ends with 1 when it is not.

        Args:
            last: Begin at the last checkpoint before the last 30m, 6h, 2d, instead of at the first row
        """
        return cast('AuditVerdict', self._call("POST", "/api/v1/audit/verify", {'last': last}, repeats=True))

    def version(
        self,
    ) -> VersionView:
        """Print the versions of envmgr, Python, git and tmux.
        """
        return cast('VersionView', self._call("GET", "/api/v1/version", {}, repeats=True))

    def whoami(
        self,
    ) -> PrincipalView:
        """Tell who you are to envmgr, and what your key is good for.
        """
        return cast('PrincipalView', self._call("GET", "/api/v1/me", {}, repeats=True))

    def why_lock(
        self,
        *,
        target: str,
        mode: Literal['read', 'intent', 'write'] | None = None,
        repo: str | None = None,
    ) -> LockWhy:
        """Tell who holds a target, since when and what for, when it is free, who waits, and how to wait for it.

        Args:
            target: Path, folder, pattern or key
            mode: What it is wanted for
            repo: Folder inside the repository
        """
        return cast('LockWhy', self._call("GET", "/api/v1/locks/why", {'target': target, 'mode': mode, 'repo': repo}, repeats=True))

    def why_task(
        self,
        *,
        task_id: str,
        repo: str | None = None,
        capabilities: list[str] | None = None,
    ) -> WhyTaskView:
        """Tell why a task is not being done: what it waits for, who has it, which lock is in the way.

        Args:
            task_id: Such as t-000123
            repo: Folder inside the repository
            capabilities: What you are able to
        """
        return cast('WhyTaskView', self._call("GET", "/api/v1/tasks/{task_id}/why", {'task_id': task_id, 'repo': repo, 'capabilities': capabilities}, repeats=True))

    def write_handoff(
        self,
        *,
        summary: str,
        completed: list[str] | None = None,
        in_progress: list[str] | None = None,
        decisions: list[str] | None = None,
        next_steps: list[str] | None = None,
        files: list[str] | None = None,
        task_id: str | None = None,
        to_agent: str | None = None,
        transfer_locks: bool | None = None,
        repo: str | None = None,
    ) -> WrittenView:
        """Leave a handoff for whoever goes on: branch, head, locks, tasks and what is not committed are noted by envmgr.

        Args:
            summary: What was done and how it stands, in a few sentences
            completed: What is done
            in_progress: What is begun and not done
            decisions: What was decided, and why
            next_steps: What comes next
            files: Paths that matter
            task_id: The task it is about
            to_agent: Whom it is for: an agent's name or id
            transfer_locks: Give your locks to that agent
            repo: Folder inside the repository
        """
        return cast('WrittenView', self._call("POST", "/api/v1/handoffs", {'summary': summary, 'completed': completed, 'in_progress': in_progress, 'decisions': decisions, 'next_steps': next_steps, 'files': files, 'task_id': task_id, 'to_agent': to_agent, 'transfer_locks': transfer_locks, 'repo': repo}))
