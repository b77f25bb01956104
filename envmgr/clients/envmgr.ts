// Client of envmgr's HTTP API: every operation as a method, every result as a type. Generated; do not edit.
// Run `python -m envmgr.interfaces.cli.generate`. Runs where `fetch` is: Node 20.3 and newer, Deno, Bun, browsers.

export interface ClientOptions {
  /** Such as `http://127.0.0.1:8750`. */
  url: string;
  /** From `envmgr key create`; an agent has its own in ENVMGR_AGENT_KEY. */
  key: string;
  /** Milliseconds without an answer until a call fails; time that a call may wait is added. */
  timeoutMs?: number;
  /** How often a call is sent again at most. */
  retries?: number;
  fetch?: typeof fetch;
}

export interface CallOptions {
  /** Gives the call up; a waiter is then forgotten by the daemon. */
  signal?: AbortSignal;
}

/** What happened (`message`), and the next move (`hint`). */
export interface Problem {
  code: string;
  message: string;
  hint: string;
  retryable: boolean;
  details: Record<string, unknown>;
  request: string;
}

/** A call failed: the daemon said why, or did not answer (`status` 0). */
export class EnvmgrError extends Error {
  readonly problem: Problem;
  readonly status: number;

  constructor(problem: Problem, status: number) {
    super(problem.hint ? `${problem.message} (${problem.hint})` : problem.message);
    this.name = "EnvmgrError";
    this.problem = problem;
    this.status = status;
  }
}

interface How {
  repeats: boolean;
  key: string;
  waits: string;
}

type Asked = Record<string, unknown>;

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

/** Calls of one daemon. A call is sent again, later and later, where that does no harm. */
export class Client {
  private readonly url: string;
  private readonly headers: Record<string, string>;
  private readonly timeoutMs: number;
  private readonly retries: number;
  private readonly fetch: typeof fetch;

  constructor(options: ClientOptions) {
    this.url = options.url.replace(/\/+$/, "");
    this.headers = { accept: "application/json", "x-api-key": options.key };
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.retries = options.retries ?? 3;
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  /** Lock files or keys before changing them: all of them or none. */
  acquire_lock(asked: { targets?: Array<string>; file_path?: string; key?: string; repo?: string; mode?: "read" | "intent" | "write"; ttl_minutes?: number | null; reason?: string; wait_s?: number; priority?: "high" | "normal" | "low"; task_id?: string; session_id?: string } = {}, options: CallOptions = {}): Promise<LockAnswer> {
    return this.call<LockAnswer>("POST", "/api/v1/locks/acquire", asked, {"repeats": false, "key": "", "waits": "wait_s"}, options);
  }

  /** Bring a running agent to what its template says now: exactly what `envmgr plan AGENT` prints, or nothing. */
  agent_apply(asked: { agent: string; environment?: Record<string, string>; yes?: boolean; plan?: string }, options: CallOptions = {}): Promise<AppliedView> {
    return this.call<AppliedView>("POST", "/api/v1/agents/{agent}/apply", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Go into the agent's terminal; C-] or F10 leaves it, and the agent goes on. */
  agent_attach(asked: { agent: string; window?: string; again?: boolean }, options: CallOptions = {}): Promise<AttachView> {
    return this.call<AttachView>("POST", "/api/v1/agents/{agent}/attach", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Look for drift now: edited templates, containers and processes changed behind our back, new lock files, a base that moved on. */
  agent_drift(asked: { agent?: string } = {}, options: CallOptions = {}): Promise<DriftListView> {
    return this.call<DriftListView>("POST", "/api/v1/drift", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Print the agent's environment: ports, URLs, connection strings; secrets are masked. */
  agent_env(asked: { agent: string; reveal?: boolean; environment?: Record<string, string> }, options: CallOptions = {}): Promise<EnvView> {
    return this.call<EnvView>("POST", "/api/v1/agents/{agent}/env", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Run a command in the agent's worktree with its environment; the command line does the running. */
  agent_exec(asked: { agent: string; command: Array<string>; service?: string; environment?: Record<string, string> }, options: CallOptions = {}): Promise<EnvView> {
    return this.call<EnvView>("POST", "/api/v1/agents/{agent}/exec", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Start agents from the present state of one: its files with uncommitted work, its volumes, its template. */
  agent_fork(asked: { agent: string; count?: number; name?: string | null; prompt?: string | null; prompt_file?: string | null; volumes?: boolean; wait?: boolean; repo?: string; environment?: Record<string, string>; request?: string }, options: CallOptions = {}): AsyncGenerator<SpawnItem> {
    return this.stream<SpawnItem>("POST", "/api/v1/agents/{agent}/fork", asked, options);
  }

  /** Show how an agent's services are and have been, as their probes saw it. */
  agent_health(asked: { agent: string; service?: string; since?: string }, options: CallOptions = {}): Promise<AgentHealth> {
    return this.call<AgentHealth>("GET", "/api/v1/agents/{agent}/health", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** List the agents of this host. */
  agent_list(asked: { all?: boolean } = {}, options: CallOptions = {}): Promise<AgentList> {
    return this.call<AgentList>("GET", "/api/v1/agents", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Print what the agent's services, set-up and hooks wrote, and follow it. */
  agent_logs(asked: { agent: string; service?: string; follow?: boolean; lines?: number }, options: CallOptions = {}): AsyncGenerator<LogLine> {
    return this.stream<LogLine>("GET", "/api/v1/agents/{agent}/logs", asked, options);
  }

  /** Print what differs between a running agent and its template, with the effect of each field and who follows. */
  agent_plan(asked: { agent: string; environment?: Record<string, string> }, options: CallOptions = {}): Promise<ReloadView> {
    return this.call<ReloadView>("POST", "/api/v1/agents/{agent}/plan", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Take a measure of the recovery ladder now, whatever the budgets say; or tell which one would be taken. */
  agent_recover(asked: { agent?: string; from_?: "service" | "session" | "realloc" | "respawn" | null; dry_run?: boolean; reset_budget?: boolean; all?: boolean } = {}, options: CallOptions = {}): Promise<RecoveryView> {
    return this.call<RecoveryView>("POST", "/api/v1/recover", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Restart services of a running agent; worktree, ports, session and assistant stay as they are. */
  agent_restart(asked: { agent: string; services?: Array<string>; followers?: boolean; environment?: Record<string, string> }, options: CallOptions = {}): Promise<ChangedView> {
    return this.call<ChangedView>("POST", "/api/v1/agents/{agent}/restart", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Remove stopped agents with their worktrees; a snapshot is kept, and `envmgr undo` brings it back. */
  agent_rm(asked: { agents?: Array<string>; all?: boolean; stop?: boolean; volumes?: boolean; discard?: string } = {}, options: CallOptions = {}): Promise<RemovedList> {
    return this.call<RemovedList>("POST", "/api/v1/agents/rm", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Run another number of instances of a service, 1 to 10; the highest go first and the others run on. */
  agent_scale(asked: { agent: string; counts: Array<string>; shared_volumes?: boolean; environment?: Record<string, string> }, options: CallOptions = {}): Promise<ChangedView> {
    return this.call<ChangedView>("POST", "/api/v1/agents/{agent}/scale", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Give the assistant a prompt, as one paste, and see that it was taken. */
  agent_send(asked: { agent: string; prompt: string; force?: boolean }, options: CallOptions = {}): Promise<Done> {
    return this.call<Done>("POST", "/api/v1/agents/{agent}/send", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Show one agent: state, worktree, services, addresses. */
  agent_show(asked: { agent: string }, options: CallOptions = {}): Promise<AgentView> {
    return this.call<AgentView>("GET", "/api/v1/agents/{agent}", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Give agents a living environment each: worktree, ports, services, terminal, assistant. */
  agent_spawn(asked: { template?: string; name?: string | null; base?: string | null; branch?: string | null; param?: Array<string>; profile?: Array<string>; prompt?: string | null; prompt_file?: string | null; count?: number; wait?: boolean; dry_run?: boolean; repo?: string; environment?: Record<string, string>; request?: string } = {}, options: CallOptions = {}): AsyncGenerator<SpawnItem> {
    return this.stream<SpawnItem>("POST", "/api/v1/agents", asked, options);
  }

  /** Start stopped agents again, on the worktrees and ports they had. */
  agent_start(asked: { agents?: Array<string>; all?: boolean; wait?: boolean; environment?: Record<string, string> } = {}, options: CallOptions = {}): Promise<AgentList> {
    return this.call<AgentList>("POST", "/api/v1/agents/start", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Stop agents and give back everything they hold, verified; their worktrees stay. */
  agent_stop(asked: { agents?: Array<string>; all?: boolean; wait?: boolean } = {}, options: CallOptions = {}): Promise<AgentList> {
    return this.call<AgentList>("POST", "/api/v1/agents/stop", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Bring back what was: a removed agent, or the files an agent had before its last restore, respawn or reallocation. */
  agent_undo(asked: { agent?: string; snapshot?: string; list?: boolean; restart?: boolean; environment?: Record<string, string> } = {}, options: CallOptions = {}): Promise<UndoView> {
    return this.call<UndoView>("POST", "/api/v1/undo", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Print the addresses of the agent's services. */
  agent_url(asked: { agent: string; service?: string }, options: CallOptions = {}): Promise<UrlView> {
    return this.call<UrlView>("GET", "/api/v1/agents/{agent}/url", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Explain an agent's state: evidence with its age, the last decisions, and what comes next. */
  agent_why(asked: { agent: string }, options: CallOptions = {}): Promise<WhyView> {
    return this.call<WhyView>("GET", "/api/v1/agents/{agent}/why", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** List sessions that have ended, oldest first: those of agents that are there, and of removed ones. */
  archive_list(asked: { agent?: string } = {}, options: CallOptions = {}): Promise<ArchiveList> {
    return this.call<ArchiveList>("GET", "/api/v1/archive", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Keep an entry until you delete it, however old it is; --off lets it go like the others. */
  archive_pin(asked: { entry: string; off?: boolean }, options: CallOptions = {}): Promise<ArchiveEntryView> {
    return this.call<ArchiveEntryView>("POST", "/api/v1/archive/{entry}/pin", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Bring a session's workspace back as a stopped agent: branch, files with uncommitted work, and spec as they were. */
  archive_restore(asked: { entry: string; name?: string; branch?: string }, options: CallOptions = {}): Promise<AgentView> {
    return this.call<AgentView>("POST", "/api/v1/archive/{entry}/restore", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Delete entries for good: logs, records, and the ref that keeps the files. */
  archive_rm(asked: { entries: Array<string> }, options: CallOptions = {}): Promise<ArchiveRemovedView> {
    return this.call<ArchiveRemovedView>("POST", "/api/v1/archive/rm", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Show how a session ended, what was made in it, and what is kept of it; or what one of its services wrote. */
  archive_show(asked: { entry: string; logs?: string; lines?: number }, options: CallOptions = {}): Promise<ArchiveShowView> {
    return this.call<ArchiveShowView>("GET", "/api/v1/archive/{entry}", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Check a proof of `audit prove`; needs no daemon and no database. Ends with 1 when it does not hold. */
  audit_check(asked: { proof: string; key?: string }, options: CallOptions = {}): Promise<ProofVerdict> {
    return this.call<ProofVerdict>("POST", "/api/v1/audit/check", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Call a task off, and with it those that wait for it; whoever works on it is told to stop. */
  cancel_work(asked: { task_id: string; repo?: string; reason?: string; dependents?: "block" | "cancel" | "continue" }, options: CallOptions = {}): Promise<ReportView> {
    return this.call<ReportView>("POST", "/api/v1/tasks/{task_id}/cancel", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Tell how many more agents fit on this host, what runs out first, and how that is known. */
  capacity(asked: { template?: string | null; param?: Array<string>; repo?: string; environment?: Record<string, string> } = {}, options: CallOptions = {}): Promise<CapacityView> {
    return this.call<CapacityView>("POST", "/api/v1/capacity", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** See which locks are held, by whom and for how long, and who waits. */
  check_locks(asked: { targets?: Array<string>; file_paths?: Array<string>; mode?: "read" | "intent" | "write"; mine?: boolean; all?: boolean; tokens?: Array<number>; repo?: string } = {}, options: CallOptions = {}): Promise<LockList> {
    return this.call<LockList>("GET", "/api/v1/locks", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Tell that a task is done, or with success=false that nobody can do it; what waited for it becomes ready. */
  complete_work(asked: { task_id: string; repo?: string; lease_token?: number; usage?: Limits; success?: boolean; result?: Record<string, unknown>; error_code?: string; error_message?: string; files_changed?: Array<string>; agent_id?: string }, options: CallOptions = {}): Promise<ReportView> {
    return this.call<ReportView>("POST", "/api/v1/tasks/{task_id}/complete", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Describe the daemon that answers. */
  daemon_info(options: CallOptions = {}): Promise<DaemonView> {
    return this.call<DaemonView>("GET", "/api/v1/daemon", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Print the daemon's log. */
  daemon_logs(asked: { follow?: boolean; lines?: number } = {}, options: CallOptions = {}): AsyncGenerator<LogLine> {
    return this.stream<LogLine>("GET", "/api/v1/daemon/logs", asked, options);
  }

  /** End the daemon after this answer; agents go on. */
  daemon_shutdown(options: CallOptions = {}): Promise<Done> {
    return this.call<Done>("POST", "/api/v1/daemon/stop", {}, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Tell whether the daemon runs. */
  daemon_status(options: CallOptions = {}): Promise<DaemonView> {
    return this.call<DaemonView>("GET", "/api/v1/daemon/status", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Show who else works on this repository: what each can do, is at, and holds. */
  discover_agents(asked: { capability?: string; status?: "" | "active" | "idle" | "awaiting_input" | "stale" | "dead"; path?: string; everywhere?: boolean; repo?: string } = {}, options: CallOptions = {}): Promise<SessionList> {
    return this.call<SessionList>("GET", "/api/v1/sessions", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Check what envmgr stands on, and say how to mend each finding. */
  doctor(options: CallOptions = {}): Promise<DoctorView> {
    return this.call<DoctorView>("GET", "/api/v1/doctor", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** End the daemon; with --agents all agents are stopped first, verified. */
  down(asked: { agents?: boolean } = {}, options: CallOptions = {}): Promise<Done> {
    return this.call<Done>("POST", "/api/v1/down", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Print what happened, oldest first, and follow it; resumable by sequence number. */
  events(asked: { agent?: string; after?: number; follow?: boolean; limit?: number } = {}, options: CallOptions = {}): AsyncGenerator<EventView> {
    return this.stream<EventView>("GET", "/api/v1/events", asked, options);
  }

  /** Record notes as events; durable when answered, all of them or none. */
  events_add(asked: { notes: Array<Note> }, options: CallOptions = {}): Promise<Done> {
    return this.call<Done>("POST", "/api/v1/events", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Write rows as JSON lines, oldest first, so that others can make their hashes again. */
  export_audit(asked: { last?: string; since?: string; until?: string; actor?: string; agent?: string; operation?: string; target?: string; decision?: "" | "allowed" | "denied"; outcome?: string; request?: string } = {}, options: CallOptions = {}): AsyncGenerator<AuditRow> {
    return this.stream<AuditRow>("GET", "/api/v1/audit/export", asked, options);
  }

  /** Tell that this attempt failed: the task is tried again after a pause, and is dead after its last attempt. */
  fail_work(asked: { task_id: string; repo?: string; lease_token?: number; usage?: Limits; error_code?: string; error_message?: string; result?: Record<string, unknown>; retry?: boolean }, options: CallOptions = {}): Promise<ReportView> {
    return this.call<ReportView>("POST", "/api/v1/tasks/{task_id}/fail", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Release locks of somebody else; they are told why, and their tokens are refused from now on. */
  force_release_lock(asked: { targets?: Array<string>; file_path?: string; key?: string; repo?: string; reason?: string } = {}, options: CallOptions = {}): Promise<LocksView> {
    return this.call<LocksView>("POST", "/api/v1/locks/force", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Forget a memory for good; agents may forget their own. */
  forget(asked: { memory_id: string; dry_run?: boolean; repo?: string }, options: CallOptions = {}): Promise<ForgottenView> {
    return this.call<ForgottenView>("DELETE", "/api/v1/memory/{memory_id}", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Show a task: what is to be done, who has it, what it waits for, every attempt and what came of it. */
  get_task(asked: { task_id: string; repo?: string }, options: CallOptions = {}): Promise<TaskViewsTaskView> {
    return this.call<TaskViewsTaskView>("GET", "/api/v1/tasks/{task_id}", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Get the next task you can do; it is yours alone until its lease ends. */
  get_work(asked: { task_types?: Array<string>; capabilities?: Array<string>; agent_id?: string; agent_type?: string; repo?: string } = {}, options: CallOptions = {}): Promise<ClaimView> {
    return this.call<ClaimView>("POST", "/api/v1/tasks/claim", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Say that you are alive, and hear what you should know: warnings, messages, and whether you must stop. */
  heartbeat(asked: { session_id?: string; status?: "" | "active" | "idle" | "awaiting_input"; current_task?: string | null; note?: string | null; repo?: string } = {}, options: CallOptions = {}): Promise<PulseView> {
    return this.call<PulseView>("POST", "/api/v1/sessions/heartbeat", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Tell that you are still at a task: its lease begins anew. Stop when the answer says must_stop. */
  heartbeat_task(asked: { task_id: string; repo?: string; lease_token?: number; usage?: Limits; status?: "running" | "verifying" }, options: CallOptions = {}): Promise<ReportView> {
    return this.call<ReportView>("POST", "/api/v1/tasks/{task_id}/heartbeat", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Explain how agents coordinate: all topics in a line each, or one topic, tool or operation in full. */
  help(asked: { topic?: string } = {}, options: CallOptions = {}): Promise<HelpView> {
    return this.call<HelpView>("GET", "/api/v1/help", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Show how envmgr itself is, part by part. */
  host_health(options: CallOptions = {}): Promise<HealthView> {
    return this.call<HealthView>("GET", "/api/v1/health", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Tell that the daemon answers; if it does not for long, restart it: agents go on. */
  host_live(options: CallOptions = {}): Promise<LiveView> {
    return this.call<LiveView>("GET", "/api/v1/live", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Tell that work may be sent: agents are adopted and the store takes changes; else it is unavailable, with the reason. */
  host_ready(options: CallOptions = {}): Promise<LiveView> {
    return this.call<LiveView>("GET", "/api/v1/ready", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Show safe mode, or switch it: on, nothing is spawned and nothing mended by itself; what runs goes on. */
  host_safe_mode(asked: { set?: "" | "on" | "off" } = {}, options: CallOptions = {}): Promise<SafeModeView> {
    return this.call<SafeModeView>("POST", "/api/v1/safe-mode", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** List failures, what they were taken for, and what was done about them. */
  incidents(asked: { agent?: string; open?: boolean; since?: string; show?: number; stats?: boolean; limit?: number } = {}, options: CallOptions = {}): Promise<IncidentList> {
    return this.call<IncidentList>("GET", "/api/v1/incidents", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Look at the repository and write a fitting template with comments. */
  init(asked: { repo?: string; force?: boolean; print?: boolean } = {}, options: CallOptions = {}): Promise<InitView> {
    return this.call<InitView>("POST", "/api/v1/init", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Make a key for a program that asks over HTTP or MCP; it is shown once. */
  key_create(asked: { name: string; scopes?: string; expires?: string }, options: CallOptions = {}): Promise<NewKey> {
    return this.call<NewKey>("POST", "/api/v1/keys", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** List keys of agents and programs, and when they were used last. */
  key_list(asked: { all?: boolean } = {}, options: CallOptions = {}): Promise<Keys> {
    return this.call<Keys>("GET", "/api/v1/keys", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Make a key worthless, at once; sessions, tasks and locks of its program end with it. */
  key_revoke(asked: { key: string }, options: CallOptions = {}): Promise<KeyView> {
    return this.call<KeyView>("POST", "/api/v1/keys/{key}/revoke", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** List handoffs of this repository, newest first. */
  list_handoffs(asked: { agent?: string; task_id?: string; before?: string; limit?: number; repo?: string } = {}, options: CallOptions = {}): Promise<HandoffList> {
    return this.call<HandoffList>("GET", "/api/v1/handoffs", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** List the newest memories of this repository. */
  list_memories(asked: { tags?: Array<string>; files?: Array<string>; mine?: boolean; superseded?: boolean; limit?: number; repo?: string } = {}, options: CallOptions = {}): Promise<MemoryList> {
    return this.call<MemoryList>("GET", "/api/v1/memory", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** List tasks, the newest first, a page at a time. */
  list_tasks(asked: { status?: Array<"blocked" | "scheduled" | "ready" | "claimed" | "running" | "verifying" | "paused" | "done" | "failed" | "cancelled" | "dead">; open?: boolean; task_type?: string | ""; mine?: boolean; limit?: number; cursor?: string; repo?: string } = {}, options: CallOptions = {}): Promise<TaskList> {
    return this.call<TaskList>("GET", "/api/v1/tasks", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Tell whether two lock targets overlap, with a path or key that both match. */
  lock_overlaps(asked: { targets?: Array<string>; pairs?: Array<Pair> } = {}, options: CallOptions = {}): Promise<OverlapsView> {
    return this.call<OverlapsView>("POST", "/api/v1/locks/overlaps", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Rotate logs, forget what is old, and give space back, as the daemon does each hour. */
  maintain(asked: { tasks?: Array<string>; dry_run?: boolean } = {}, options: CallOptions = {}): Promise<MaintainView> {
    return this.call<MaintainView>("POST", "/api/v1/maintain", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Prove that a row is in the trail, to somebody who has neither the database nor the other rows. */
  prove_audit(asked: { seq: number }, options: CallOptions = {}): Promise<AuditProof> {
    return this.call<AuditProof>("GET", "/api/v1/audit/proof/{seq}", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Show who asked for what, and what came of it. */
  query_audit(asked: { last?: string; since?: string; until?: string; actor?: string; agent?: string; operation?: string; target?: string; decision?: "" | "allowed" | "denied"; outcome?: string; request?: string; limit?: number; before?: number } = {}, options: CallOptions = {}): Promise<AuditPage> {
    return this.call<AuditPage>("GET", "/api/v1/audit", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Read what the last session left, newest first; by id, agent, task or branch, or the newest of the repository. */
  read_handoff(asked: { handoff_id?: string; agent?: string; task_id?: string; branch?: string; limit?: number; repo?: string } = {}, options: CallOptions = {}): Promise<HandoffList> {
    return this.call<HandoffList>("GET", "/api/v1/handoffs/newest", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Recall what is known here about something: best first, with `text` ready to be read by a model. */
  recall(asked: { query?: string; event_types?: Array<string>; tags?: Array<string>; files?: Array<string>; near?: Array<string>; since?: string; superseded?: boolean; min_relevance?: number; limit?: number; token_budget?: number; repo?: string } = {}, options: CallOptions = {}): Promise<RecalledView> {
    return this.call<RecalledView>("POST", "/api/v1/memory/query", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Show which files agents of this repository have written lately, and where somebody else had a lock. */
  recent_changes(asked: { agent?: string; since?: string; limit?: number; repo?: string } = {}, options: CallOptions = {}): Promise<ChangesView> {
    return this.call<ChangesView>("GET", "/api/v1/changes", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Register this session, so that others find it; agents that envmgr has spawned are known already and may say more. */
  register_session(asked: { capabilities?: Array<string>; current_task?: string; session_id?: string; kind?: string; status?: "active" | "idle" | "awaiting_input"; note?: string; model?: string; parent?: string; worktree?: string; branch?: string; repo?: string } = {}, options: CallOptions = {}): Promise<RegisteredView> {
    return this.call<RegisteredView>("POST", "/api/v1/sessions", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Give locks back, and hear which changes under them are not committed yet. */
  release_lock(asked: { targets?: Array<string>; file_path?: string; key?: string; repo?: string; all?: boolean; token?: number } = {}, options: CallOptions = {}): Promise<ReleaseView> {
    return this.call<ReleaseView>("POST", "/api/v1/locks/release", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Remember what was learned, for everybody who works on this repository. */
  remember(asked: { summary: string; event_type?: string; details?: string | Record<string, unknown>; outcome?: "" | "positive" | "negative" | "neutral" | "success" | "failure"; lessons?: Array<string>; tags?: Array<string>; files?: Array<string>; importance?: number; pin?: boolean; supersedes?: string; task_id?: string; repo?: string }, options: CallOptions = {}): Promise<RememberedView> {
    return this.call<RememberedView>("POST", "/api/v1/memory", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Let locks last longer. Calls and hooks of an agent do that by themselves. */
  renew_lock(asked: { targets?: Array<string>; file_path?: string; key?: string; repo?: string; ttl_minutes?: number | null; token?: number } = {}, options: CallOptions = {}): Promise<LocksView> {
    return this.call<LocksView>("POST", "/api/v1/locks/renew", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** List what is left over on this host; exit status 3 if something is. */
  resource_audit(asked: { kind?: Array<"process" | "container" | "network" | "port" | "session" | "image" | "volume" | "temp" | "worktree">; all?: boolean } = {}, options: CallOptions = {}): Promise<AuditView> {
    return this.call<AuditView>("GET", "/api/v1/resources", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Remove what is left over on this host. */
  resource_reap(asked: { names?: Array<string>; dry_run?: boolean } = {}, options: CallOptions = {}): Promise<ReapView> {
    return this.call<ReapView>("POST", "/api/v1/resources/reap", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Put a task back into the queue that failed, died, was cancelled, is paused, or rests before its next attempt. */
  retry_work(asked: { task_id: string; repo?: string; with_dependents?: boolean }, options: CallOptions = {}): Promise<RetryView> {
    return this.call<RetryView>("POST", "/api/v1/tasks/{task_id}/retry", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Write short instructions on coordination for assistants, each where it looks for skills. */
  skills_install(asked: { agents?: string; scope?: Where; repo?: string } = {}, options: CallOptions = {}): Promise<SkillsView> {
    return this.call<SkillsView>("POST", "/api/v1/skills/install", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Show where assistants look for the instructions on coordination, and whether they are there. */
  skills_list(asked: { agents?: string; scope?: Where; repo?: string } = {}, options: CallOptions = {}): Promise<SkillsView> {
    return this.call<SkillsView>("GET", "/api/v1/skills", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Take the instructions back that `skills install` wrote, with the folders it made; what a person changed stays. */
  skills_remove(asked: { agents?: string; scope?: Where; repo?: string } = {}, options: CallOptions = {}): Promise<SkillsView> {
    return this.call<SkillsView>("POST", "/api/v1/skills/remove", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Save an agent's worktree and volumes as they are now, running or stopped. */
  snapshot_create(asked: { agent: string; name?: string; volumes?: boolean }, options: CallOptions = {}): Promise<SnapshotView> {
    return this.call<SnapshotView>("POST", "/api/v1/agents/{agent}/snapshots", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** List snapshots, oldest first: those you took, those that envmgr took before anything that might cost work, and for forks. */
  snapshot_list(asked: { agent?: string } = {}, options: CallOptions = {}): Promise<SnapshotList> {
    return this.call<SnapshotList>("GET", "/api/v1/snapshots", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Put a snapshot back into its agent: branch, index, files and volumes as they were. */
  snapshot_restore(asked: { agent: string; snapshot: string; restart?: boolean; environment?: Record<string, string> }, options: CallOptions = {}): Promise<RestoredView> {
    return this.call<RestoredView>("POST", "/api/v1/agents/{agent}/snapshots/{snapshot}/restore", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Delete snapshots for good: their volumes' copies and the ref that keeps their files. */
  snapshot_rm(asked: { snapshots: Array<string> }, options: CallOptions = {}): Promise<RemovedSnapshots> {
    return this.call<RemovedSnapshots>("POST", "/api/v1/snapshots/rm", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Add tasks that may depend on each other: all of them, or none. */
  submit_batch(asked: { tasks: Array<BatchTask>; idempotency_key?: string; repo?: string }, options: CallOptions = {}): Promise<BatchView> {
    return this.call<BatchView>("POST", "/api/v1/tasks/batch", asked, {"repeats": true, "key": "idempotency_key", "waits": ""}, options);
  }

  /** Add a task to the work queue. */
  submit_work(asked: { description: string; task_type?: string; input_data?: Record<string, unknown>; priority?: number; depends_on?: Array<string>; claims?: Array<string>; capabilities?: Array<string>; deadline?: string; run_at?: string; max_attempts?: number; dependents?: "block" | "cancel" | "continue"; budget?: Limits; parent?: string; discovered_from?: string; related?: Array<string>; idempotency_key?: string; repo?: string }, options: CallOptions = {}): Promise<SubmittedView> {
    return this.call<SubmittedView>("POST", "/api/v1/tasks", asked, {"repeats": true, "key": "idempotency_key", "waits": ""}, options);
  }

  /** Show how tasks depend on each other, as a tree, as DOT for Graphviz, or with --json as nodes and edges. */
  task_graph(asked: { task_id?: string; form?: "tree" | "dot"; limit?: number; repo?: string } = {}, options: CallOptions = {}): Promise<GraphView> {
    return this.call<GraphView>("GET", "/api/v1/graph/tasks", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Print each resolved field of a template and the file and line it comes from. */
  template_explain(asked: { template: string; repo?: string }, options: CallOptions = {}): Promise<ExplainedView> {
    return this.call<ExplainedView>("GET", "/api/v1/templates/explain", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Write a template from a compose file, a devcontainer.json, a Procfile or a process-compose.yaml. */
  template_import(asked: { files: Array<string>; format?: string; profile?: Array<string>; service?: Array<string>; name?: string; output?: string; check?: boolean; force?: boolean; repo?: string }, options: CallOptions = {}): Promise<ImportView> {
    return this.call<ImportView>("POST", "/api/v1/templates/import", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** List templates: the repository's, then yours, then the built-in ones; the first of a name counts. */
  template_list(asked: { repo?: string } = {}, options: CallOptions = {}): Promise<TemplateListView> {
    return this.call<TemplateListView>("GET", "/api/v1/templates", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Print the JSON Schema of templates, for editors. */
  template_schema(asked: { repo?: string } = {}, options: CallOptions = {}): Promise<SchemaView> {
    return this.call<SchemaView>("GET", "/api/v1/templates/schema", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Print a template as it is written. */
  template_show(asked: { template: string; repo?: string }, options: CallOptions = {}): Promise<SourceView> {
    return this.call<SourceView>("GET", "/api/v1/templates/show", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Check a template and report everything that is wrong, with file, line and column. */
  template_validate(asked: { template: string; repo?: string }, options: CallOptions = {}): Promise<ValidationView> {
    return this.call<ValidationView>("GET", "/api/v1/templates/validate", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Give locks to another agent, which is told; they get new tokens. */
  transfer_lock(asked: { targets?: Array<string>; file_path?: string; key?: string; repo?: string; to_agent?: string } = {}, options: CallOptions = {}): Promise<LocksView> {
    return this.call<LocksView>("POST", "/api/v1/locks/transfer", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  /** Look whether the audit trail is as it was written; ends with 1 when it is not. */
  verify_audit(asked: { last?: string } = {}, options: CallOptions = {}): Promise<AuditVerdict> {
    return this.call<AuditVerdict>("POST", "/api/v1/audit/verify", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Print the versions of envmgr, Python, git and tmux. */
  version(options: CallOptions = {}): Promise<VersionView> {
    return this.call<VersionView>("GET", "/api/v1/version", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Tell who you are to envmgr, and what your key is good for. */
  whoami(options: CallOptions = {}): Promise<PrincipalView> {
    return this.call<PrincipalView>("GET", "/api/v1/me", {}, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Tell who holds a target, since when and what for, when it is free, who waits, and how to wait for it. */
  why_lock(asked: { target: string; mode?: "read" | "intent" | "write"; repo?: string }, options: CallOptions = {}): Promise<LockWhy> {
    return this.call<LockWhy>("GET", "/api/v1/locks/why", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Tell why a task is not being done: what it waits for, who has it, which lock is in the way. */
  why_task(asked: { task_id: string; repo?: string; capabilities?: Array<string> }, options: CallOptions = {}): Promise<WhyTaskView> {
    return this.call<WhyTaskView>("GET", "/api/v1/tasks/{task_id}/why", asked, {"repeats": true, "key": "", "waits": ""}, options);
  }

  /** Leave a handoff for whoever goes on: branch, head, locks, tasks and what is not committed are noted by envmgr. */
  write_handoff(asked: { summary: string; completed?: Array<string>; in_progress?: Array<string>; decisions?: Array<string>; next_steps?: Array<string>; files?: Array<string>; task_id?: string; to_agent?: string; transfer_locks?: boolean; repo?: string }, options: CallOptions = {}): Promise<WrittenView> {
    return this.call<WrittenView>("POST", "/api/v1/handoffs", asked, {"repeats": false, "key": "", "waits": ""}, options);
  }

  private async call<T>(method: string, path: string, given: Asked, how: How, options: CallOptions): Promise<T> {
    const asked = how.key && given[how.key] == null ? { ...given, [how.key]: crypto.randomUUID() } : given;
    const waitMs = how.waits ? Number(asked[how.waits] ?? 0) * 1000 : 0;
    for (let attempt = 0; ; attempt++) {
      try {
        const deadline = AbortSignal.timeout(this.timeoutMs + waitMs);
        const response = await this.send(method, path, asked, options, deadline);
        return (await response.json()) as T;
      } catch (error) {
        const failure = asFailure(error);
        if (options.signal?.aborted || attempt >= this.retries || !mayRepeat(failure, how.repeats)) throw failure;
        await pause(failure, attempt);
      }
    }
  }

  private async *stream<T>(method: string, path: string, asked: Asked, options: CallOptions): AsyncGenerator<T> {
    const response = await this.send(method, path, asked, options);
    let rest = "";
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const item = JSON.parse(line);
        if (Object.keys(item).join() === "problem") throw new EnvmgrError(item.problem, response.status);
        yield item as T;
      }
    }
  }

  private async send(
    method: string, path: string, asked: Asked, options: CallOptions, deadline?: AbortSignal,
  ): Promise<Response> {
    const rest = Object.fromEntries(Object.entries(asked).filter(([, value]) => value != null));
    const target = path.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = encodeURIComponent(String(rest[name]));
      delete rest[name];
      return value;
    });
    const isBodiless = method === "GET" || method === "DELETE";
    const signals = [deadline, options.signal].filter((signal) => signal !== undefined);
    const response = await this.fetch(this.url + target + (isBodiless ? query(rest) : ""), {
      method,
      headers: isBodiless ? this.headers : { ...this.headers, "content-type": "application/json" },
      signal: AbortSignal.any(signals),
      ...(isBodiless ? {} : { body: JSON.stringify(rest) }),
    });
    if (response.ok) return response;
    throw new EnvmgrError(await problemOf(response), response.status);
  }
}

function query(asked: Asked): string {
  const pairs = Object.entries(asked).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [name, String(one)]),
  );
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return unanswered(`something before the daemon answered ${response.status}`);
  }
}

function unanswered(message: string): Problem {
  return { code: "unavailable", message, hint: "", retryable: true, details: {}, request: "" };
}

function asFailure(error: unknown): EnvmgrError {
  if (error instanceof EnvmgrError) return error;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new EnvmgrError(unanswered(`no answer: ${cause instanceof Error ? cause.message : String(cause)}`), 0);
}

/** It certainly did nothing (429), or doing it twice does no harm. */
function mayRepeat(failure: EnvmgrError, repeats: boolean): boolean {
  return failure.status === 429 || (repeats && failure.problem.retryable);
}

/** Some wait longer than others, so that many clients do not come back at the same time. */
function pause(failure: EnvmgrError, attempt: number): Promise<void> {
  const wanted = failure.problem.details["retry_after_s"];
  const grown = FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random() / 2);
  const ms = Math.min(typeof wanted === "number" ? wanted * 1000 : grown, LONGEST_PAUSE_MS);
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Services of an agent as their probes saw them. */
export interface AgentHealth {
  agent: string;
  at: number;
  since_at: number;
  suspended: string;
  services: Array<UnitHealth>;
  series: Array<SampleView>;
}

/** All agents, oldest first. */
export interface AgentList {
  agents: Array<AgentView>;
}

/** An agent. */
export interface AgentView {
  id: string;
  name: string;
  lifecycle: string;
  activity: string | null;
  activity_source: string | null;
  generation: number;
  reason: string;
  since: number;
  activity_since: number;
  template: string;
  assistant: string;
  repo: string;
  branch: string;
  worktree: string;
  origin: string;
  conditions: Array<ConditionView>;
  services: Array<ServiceView>;
  tasks: Array<string>;
  begun: Array<BegunView>;
  begun_unknown: string;
  dropped_by_rm: Array<string>;
}

/** One step of the present generation's spawn. */
export interface AgentsStepView {
  step: string;
  state: string;
  error: string;
}

/** What was done; units that are not named were not touched. */
export interface AppliedView {
  agent: string;
  plan: string;
  steps: Array<ReloadStepView>;
  message: string;
}

/** A session that has ended, and what is kept of it. */
export interface ArchiveEntryView {
  entry: string;
  number: number;
  name: string;
  generation: number;
  since_generation: number;
  at: number;
  reason: string;
  template: string;
  assistant: string;
  repo: string;
  branch: string;
  ref: string;
  pinned: boolean;
  commits: number;
  events: number;
  incidents: number;
  recordings: Array<string>;
  missing: Array<string>;
  bytes: number;
  folder: string;
}

/** Sessions that have ended, oldest first. */
export interface ArchiveList {
  entries: Array<ArchiveEntryView>;
  bytes: number;
}

/** What was deleted. */
export interface ArchiveRemovedView {
  removed: Array<string>;
  bytes: number;
}

/** One entry with its work, or the text of one of its recordings. */
export interface ArchiveShowView {
  entry: ArchiveEntryView;
  commits: Array<CommitView>;
  uncommitted: Array<string>;
  log: string | null;
}

/** How to get into the agent's terminal. */
export interface AttachView {
  argv: Array<string>;
  identify: Array<string>;
  name: string;
  notes: Array<string>;
}

/** One holder's try. */
export interface AttemptView {
  number: number;
  by: string;
  began_at: string;
  ended_at: string;
  outcome: string;
  error_code: string;
  error_message: string;
  usage: UsageView;
  result: Record<string, unknown> | null;
}

/** One call. */
export interface AuditEntry {
  seq: number;
  at: string;
  request: string;
  actor: string;
  kind: string;
  name: string;
  agent: string;
  session: string;
  operation: string;
  target: string;
  decision: string;
  outcome: string;
  params: Record<string, unknown>;
  result: Record<string, unknown>;
  latency_s: number | null;
  hash: string;
}

/** Something that is not as it was written. */
export interface AuditFinding {
  kind: string;
  seq: number;
  says: string;
}

/** Rows, newest first. */
export interface AuditPage {
  entries: Array<AuditEntry>;
  more: boolean;
  ok: boolean;
}

/** A row, its way up the tree, and the signed checkpoint that names the root. */
export interface AuditProof {
  row: AuditRow;
  index: number;
  path: Array<string>;
  checkpoint: Checkpoint;
  public_key: string;
}

/** A row as it was hashed: `hash` is the SHA-256 of `prev` and the JSON array of all fields from `seq` to `latency_us`. */
export interface AuditRow {
  seq: number;
  at_us: number;
  request: string;
  actor: string;
  kind: string;
  name: string;
  agent: string;
  session: string;
  operation: string;
  target: string;
  decision: string;
  outcome: string;
  params: string;
  result: string;
  latency_us: number | null;
  prev: string;
  hash: string;
}

/** What came of a look at the whole trail. */
export interface AuditVerdict {
  ok: boolean;
  checked: number;
  first: number;
  last: number;
  head: string;
  sealed: number;
  sealed_at: string;
  checkpoints: number;
  newest: string;
  filed: number;
  key: string;
  findings: Array<AuditFinding>;
  notes: Array<string>;
}

/** What there is. */
export interface AuditView {
  things: Array<ThingView>;
  totals: Record<string, number>;
  leaked_bytes: number;
}

/** A task of a batch. */
export interface BatchTask {
  description: string;
  task_type?: string;
  input_data?: Record<string, unknown>;
  priority?: number;
  depends_on?: Array<string>;
  claims?: Array<string>;
  capabilities?: Array<string>;
  deadline?: string;
  run_at?: string;
  max_attempts?: number;
  dependents?: "block" | "cancel" | "continue";
  budget?: Limits;
  parent?: string;
  discovered_from?: string;
  related?: Array<string>;
  key?: string;
}

/** Tasks that were taken in together, in the order in which they were given. */
export interface BatchView {
  ok: boolean;
  success: boolean;
  count: number;
  tasks: Array<SubmittedView>;
  is_repeat: boolean;
}

/** A container, network or volume that the agent itself has begun. */
export interface BegunView {
  kind: string;
  name: string;
  id: string;
  image: string;
  state: string;
  kept: boolean;
}

/** What is left of a budget. */
export interface BudgetView {
  rung: string;
  left: number;
  of: number;
}

/** How many more agents fit. */
export interface CapacityView {
  template: string;
  fits: number | null;
  first: string;
  remedy: string;
  short: Record<string, string>;
  supplies: Array<SupplyView>;
}

/** The newest change of one file by one agent. */
export interface ChangeView {
  agent_id: string;
  agent: string;
  path: string;
  kind: string;
  changed_at: string;
  age_s: number;
  main_checkout: boolean;
  evidence: string;
  violates: number;
  locked_by: string;
}

/** What a change did, unit by unit; units that are not named run on untouched. */
export interface ChangedView {
  agent: string;
  units: Array<UnitResult>;
  notes: Array<string>;
}

/** Changes, the newest first. */
export interface ChangesView {
  ok: boolean;
  success: boolean;
  repo: string;
  changes: Array<ChangeView>;
}

/** One finding of the doctor. */
export interface CheckView {
  check: string;
  ok: boolean;
  found: string;
  fix: string;
}

/** A signed statement about rows, as it stands in the file of checkpoints. */
export interface Checkpoint {
  mark: string;
  number: number;
  first: number;
  last: number;
  head: string;
  root: string;
  at_us: number;
  instance: string;
  prev: string;
  key: string;
  file: string;
  digest: string;
  signature: string;
}

/** A task to do, or why there is none. */
export interface ClaimView {
  ok: boolean;
  success: boolean;
  reason: string;
  task_id: string;
  task_type: string;
  description: string;
  input_data: Record<string, unknown>;
  priority: number;
  deadline: string;
  lease_token: number;
  lease_expires_at: string;
  lease_s: number;
  attempt: number;
  budget: UsageView;
  locks: Array<string>;
  lock_waits: Array<ObstacleView>;
  context: string;
}

/** A measure that was taken. */
export interface ClimbView {
  rung: string;
  outcome: string;
  at: number;
  ended_at: number | null;
  because: string;
  result: string;
}

/** A commit made in a session. */
export interface CommitView {
  id: string;
  at: number;
  author: string;
  subject: string;
  files: Array<string>;
}

/** A reasoned remark on an agent. */
export interface ConditionView {
  type: string;
  subject: string;
  reason: string;
  since: number;
}

/** Who is in the way, and where. */
export interface ConflictView {
  target: string;
  held: string;
  holder: string;
  mode: string;
  reason: string;
  since: string;
  expires_at: string;
  left_s: number | null;
  overlap_example: string;
  is_waiting: boolean;
}

/** The container a service runs in. */
export interface ContainerView {
  id: string;
  name: string;
  image: string;
  published: Record<string, number>;
}

/** The daemon. */
export interface DaemonView {
  running: boolean;
  pid: number | null;
  version: string;
  state_dir: string;
  socket: string;
  started_at: number;
  agents: number;
  troubles: Array<string>;
  shared: Array<SharedView>;
  code: string;
  engine: string;
  engine_trouble: string;
  pressure: string;
}

/** A task that waits for one that is tried again, or was cancelled with it. */
export interface DependantView {
  task_id: string;
  status: string;
  is_taken_up: boolean;
  waits_for: Array<string>;
  cancelled_because_of: string;
}

/** What is right and what is not, each with a fix. */
export interface DoctorView {
  ok: boolean;
  checks: Array<CheckView>;
}

/** It is done. */
export interface Done {
  message: string;
}

/** All that was found; empty when what runs is what was launched and what the templates say. */
export interface DriftListView {
  drifts: Array<DriftView>;
}

/** One sort of drift of one agent. */
export interface DriftView {
  agent: string;
  drift: string;
  reason: string;
  next: string;
}

/** `task_id` depends on `on`, or is tied to it. */
export interface EdgeView {
  task_id: string;
  on: string;
  kind: string;
  is_met: boolean;
}

/** The agent's environment. */
export interface EnvView {
  name: string;
  worktree: string;
  env: Record<string, string>;
  container: string;
  engine: Record<string, string>;
}

/** Something that happened. `seq` only grows; ask for events after it to go on. */
export interface EventView {
  seq: number;
  at: number;
  kind: string;
  agent: string;
  name: string;
  generation: number;
  cause: string;
  data: Record<string, unknown>;
}

/** Why envmgr believes the present activity. */
export interface EvidenceView {
  source: string;
  detail: string;
  age_s: number;
}

/** Resolved fields with their origin. */
export interface ExplainedView {
  fields: Array<Record<string, string>>;
}

/** What stayed. */
export interface FailedView {
  thing: ThingView;
  error: string;
}

/** A field that differs. */
export interface FieldView {
  path: string;
  old: string;
  new: string;
  impact: string;
  note: string;
}

/** Something wrong (or doubtful) in a template. */
export interface FindingView {
  file: string;
  line: number;
  column: number;
  path: string;
  message: string;
  hint: string;
  warning: boolean;
}

/** What is gone. */
export interface ForgottenView {
  ok: boolean;
  memory_id: string;
  summary: string;
  dry_run: boolean;
}

export type Found = "missing" | "installed" | "outdated" | "changed";

/** Tasks and how they are tied together. */
export interface GraphView {
  nodes: Array<NodeView>;
  edges: Array<EdgeView>;
  form: string;
  is_cut: boolean;
}

/** Handoffs, newest first. */
export interface HandoffList {
  ok: boolean;
  handoffs: Array<HandoffView>;
  text: string;
}

/** One handoff. */
export interface HandoffView {
  handoff_id: string;
  agent: string;
  agent_id: string;
  session_id: string;
  generation: number;
  kind: string;
  reason: string;
  summary: string;
  completed: Array<string>;
  in_progress: Array<string>;
  decisions: Array<string>;
  next_steps: Array<string>;
  files: Array<string>;
  branch: string;
  head: string;
  snapshot: string;
  locks: Array<string>;
  tasks: Array<string>;
  transferred_to: string;
  tail: string;
  created_at: string;
  id: string;
  agent_name: string;
  completed_work: Array<string>;
  relevant_files: Array<string>;
}

/** How envmgr itself is. Says nothing of agents. */
export interface HealthView {
  ok: boolean;
  status: string;
  version: string;
  parts: Array<PartView>;
}

/** What there is to know. */
export interface HelpView {
  topics: Array<TopicView>;
}

/** Something of an imported file that comes out otherwise than it was said there. */
export interface ImportFindingView {
  file: string;
  line: number;
  column: number;
  severity: string;
  key: string;
  says: string;
  service: string;
}

/** A template made from files of another format, or only the report about it. */
export interface ImportView {
  name: string;
  format: string;
  path: string;
  text: string;
  written: boolean;
  checked: boolean;
  ok: boolean;
  findings: Array<ImportFindingView>;
}

/** Incidents, newest first. */
export interface IncidentList {
  incidents: Array<IncidentView>;
  stats: Array<TemplateStatsView>;
  details: boolean;
  safe_mode: string;
}

/** A failure, what it was taken for, and all that was done about it. */
export interface IncidentView {
  id: number;
  agent: string;
  name: string;
  generation: number;
  template: string;
  part: string;
  service: string;
  words: string;
  failure: string;
  confidence: number;
  fingerprint: string;
  advice: string;
  evidence: Array<SignView>;
  climbs: Array<ClimbView>;
  symptoms: number;
  opened_at: number;
  seen_at: number;
  closed_at: number | null;
  bundle: string;
}

/** The template that was (or would be) written. */
export interface InitView {
  path: string;
  text: string;
  written: boolean;
  findings: Array<string>;
}

/** What is known of a key. The key itself is not. */
export interface KeyView {
  id: string;
  kind: string;
  name: string;
  agent: string;
  scopes: Array<string>;
  created_at: string;
  expires_at: string;
  revoked_at: string;
  used_at: string;
}

/** Keys, oldest first. */
export interface Keys {
  keys: Array<KeyView>;
}

/** A limit of a service, and who enforces it. */
export interface LimitView {
  name: string;
  value: string;
  tier: string;
}

/** Of one attempt: in a budget the most, in a report what was used; 0 is no limit. */
export interface Limits {
  tokens?: number;
  cost?: number;
  wall_s?: number;
  tool_calls?: number;
  file_changes?: number;
}

/** One step of a deadlock. */
export interface LinkView {
  holder: string;
  waits_for: string;
  held_by: string;
  held: string;
}

/** It lives: it has answered. */
export interface LiveView {
  ok: boolean;
  status: string;
}

/** What came of asking for locks. */
export interface LockAnswer {
  ok: boolean;
  success: boolean;
  status: "granted" | "queued" | "conflict" | "deadlock" | "denied";
  action: "acquired" | "refreshed" | "";
  reason: string;
  message: string;
  locked_by: string;
  lock_reason: string;
  file_path: string;
  expires_at: string;
  locks: Array<LockView>;
  conflicts: Array<ConflictView>;
  warnings: Array<ConflictView>;
  queue_position: number;
  cycle: Array<LinkView>;
  release_order: Array<string>;
}

/** Locks that are held, and who waits. */
export interface LockList {
  locks: Array<LockView>;
  waiting: Array<WaiterView>;
  would_conflict: Array<ConflictView>;
  stale_tokens: Array<number>;
}

/** A lock that is held. */
export interface LockView {
  target: string;
  token: number;
  mode: "read" | "intent" | "write";
  holder: string;
  holder_id: string;
  reason: string;
  task_id: string;
  repo: string;
  since_at: string;
  expires_at: string;
  ttl_s: number;
  left_s: number;
  renew_after_s: number;
  file_path: string;
  locked_by: string;
  locked_at: string;
}

/** Why a target cannot be had. */
export interface LockWhy {
  target: string;
  is_yours: boolean;
  is_free: boolean;
  asker_id: string;
  locks: Array<LockView>;
  waiting: Array<WaiterView>;
  conflicts: Array<ConflictView>;
  frees_at: string;
  wait_command: string;
}

/** Locks after a change of them, or why there was none. */
export interface LocksView {
  ok: boolean;
  success: boolean;
  action: "renewed" | "transferred" | "released" | "";
  reason: string;
  message: string;
  not_held: Array<string>;
  locks: Array<LockView>;
}

/** A piece of a service's output. */
export interface LogLine {
  service: string;
  text: string;
}

/** What was done. */
export interface MaintainView {
  tasks: Array<MaintainingTaskView>;
  dry_run: boolean;
}

/** What one task came to. */
export interface MaintainingTaskView {
  task: string;
  says: string;
  count: number;
  bytes: number;
  detail: string;
  error: string;
}

/** Memories, newest first. */
export interface MemoryList {
  ok: boolean;
  memories: Array<MemoryView>;
}

/** One memory. */
export interface MemoryView {
  memory_id: string;
  event_type: string;
  summary: string;
  details: string;
  outcome: string;
  lessons: Array<string>;
  tags: Array<string>;
  files: Array<string>;
  importance: number;
  pinned: boolean;
  agent: string;
  agent_id: string;
  task_id: string;
  commit: string;
  created_at: string;
  age_days: number;
  superseded_by: string;
  score: number | null;
  relevance_score: number | null;
  id: string;
  contradicts: Array<string>;
}

/** A key that was just made. */
export interface NewKey {
  key: string;
  id: string;
  name: string;
  scopes: Array<string>;
  expires_at: string;
}

/** A task of the graph. */
export interface NodeView {
  task_id: string;
  status: string;
  task_type: string;
  summary: string;
}

/** One thing that happened, in somebody else's words. */
export interface Note {
  kind: string;
  agent?: string;
  data?: Record<string, unknown>;
}

/** Why somebody does not get a task. */
export interface ObstacleView {
  code: string;
  words: string;
  on: string;
  until: string;
}

/** All answers, in the order of the questions. `overlaps` and `witness` are those of the first that has any. */
export interface OverlapsView {
  ok: boolean;
  overlaps: boolean;
  witness: string | null;
  pairs: Array<PairView>;
}

/** Two targets; as JSON also `["a", "b"]`. */
export interface Pair {
  a: string;
  b: string;
}

/** One answer. */
export interface PairView {
  a: string;
  b: string;
  overlaps: boolean | null;
  witness: string | null;
  error: string | null;
}

/** One thing that envmgr stands on. */
export interface PartView {
  part: string;
  ok: boolean;
  found: string;
}

/** What a spawn would do. */
export interface PlanView {
  name: string;
  template: string;
  source: string;
  repo: string;
  branch: string;
  base: string;
  worktree: string;
  steps: Array<string>;
  services: Array<string>;
  images: Array<string>;
  volumes: Array<string>;
  ports: Record<string, string>;
  command: string;
}

/** Who asks, and what for they may ask. */
export interface PrincipalView {
  kind: string;
  name: string;
  id: string;
  agent: string;
  scopes: Array<string>;
}

/** Whether a proof holds. */
export interface ProofVerdict {
  ok: boolean;
  seq: number;
  says: Array<string>;
  key: string;
  is_pinned: boolean;
}

/** What a session should know. */
export interface PulseView {
  ok: boolean;
  success: boolean;
  session_id: string;
  status: string;
  warnings: Array<string>;
  messages: Array<string>;
  must_stop: boolean;
  reason: string;
}

/** What was removed. */
export interface ReapView {
  removed: Array<ThingView>;
  failed: Array<FailedView>;
  left: Array<ThingView>;
  would: Array<ThingView>;
  freed_bytes: number;
}

/** What is known. */
export interface RecalledView {
  ok: boolean;
  memories: Array<MemoryView>;
  text: string;
  truncated: boolean;
}

/** What is, or would be, done. */
export interface RecoveryView {
  agent: string;
  rung: string;
  because: string;
  dry_run: boolean;
  incident: number;
  budgets: Array<BudgetView>;
}

/** It is known now. */
export interface RegisteredView {
  ok: boolean;
  success: boolean;
  session_id: string;
  agent_id: string;
  agent: string;
  stale_after_s: number;
}

/** What came of giving locks back. */
export interface ReleaseView {
  ok: boolean;
  success: boolean;
  action: "released" | "";
  reason: string;
  message: string;
  file_path: string;
  released: Array<string>;
  not_held: Array<string>;
  dirty_paths: Array<string>;
}

/** What was done to one unit. */
export interface ReloadStepView {
  unit: string;
  done: string;
  failure: string;
}

/** The difference, with the effect of each field, and who follows. */
export interface ReloadView {
  agent: string;
  plan: string;
  impact: string;
  units: Array<UnitView>;
  fields: Array<FieldView>;
  consents: Array<string>;
  obstacles: Array<string>;
}

/** What became of it. */
export interface RememberedView {
  ok: boolean;
  success: boolean;
  memory_id: string;
  action: string;
  deduplicated: boolean;
  contradicts: Array<string>;
  superseded: string;
}

/** What was removed. */
export interface RemovedList {
  removed: Array<RemovedView>;
}

/** What was deleted. */
export interface RemovedSnapshots {
  removed: Array<number>;
  bytes: number;
}

/** What was removed, and how to bring it back. */
export interface RemovedView {
  name: string;
  snapshot: string;
  message: string;
}

/** What became of a report. */
export interface ReportView {
  ok: boolean;
  success: boolean;
  task_id: string;
  status: string;
  reason: string;
  hint: string;
  must_stop: boolean;
  over: Array<string>;
  lease_expires_at: string;
  lease_s: number;
  is_late: boolean;
  retry_at: string;
  next_ready: Array<string>;
  cancelled: Array<string>;
}

/** The agent after a restore, and how to take the restore back. */
export interface RestoredView {
  agent: AgentView;
  snapshot: SnapshotView;
  before: number;
}

/** What became of a retry. */
export interface RetryView {
  ok: boolean;
  success: boolean;
  task_id: string;
  status: string;
  reason: string;
  hint: string;
  must_stop: boolean;
  over: Array<string>;
  lease_expires_at: string;
  lease_s: number;
  is_late: boolean;
  retry_at: string;
  next_ready: Array<string>;
  cancelled: Array<string>;
  dependants: Array<DependantView>;
}

/** How often a measure was taken, and how often it helped. */
export interface RungStatsView {
  rung: string;
  taken: number;
  held: number;
}

/** Whether envmgr does anything by itself. */
export interface SafeModeView {
  on: boolean;
  reason: string;
  since: number | null;
}

/** One thing that was measured. */
export interface SampleView {
  service: string;
  metric: string;
  at: number;
  value: number;
  count: number;
}

/** The copy of a volume in a snapshot. */
export interface SavedVolumeView {
  name: string;
  bytes: number;
}

/** A JSON Schema. */
export interface SchemaView {
  schema: Record<string, unknown>;
}

/** A service of an agent. */
export interface ServiceView {
  name: string;
  kind: string;
  state: string;
  detail: string;
  ports: Record<string, number>;
  urls: Array<string>;
  shared_by: Array<string>;
  container: ContainerView | null;
  limits: Array<LimitView>;
  instances: Array<ServiceView>;
}

/** Who is here. */
export interface SessionList {
  ok: boolean;
  agents: Array<SessionView>;
}

/** One session. */
export interface SessionView {
  agent_id: string;
  agent: string;
  session_id: string;
  agent_type: string;
  status: string;
  capabilities: Array<string>;
  current_task: string;
  tasks: Array<string>;
  locks: Array<string>;
  note: string;
  worktree: string;
  branch: string;
  model: string;
  delegated_from: string;
  repo: string;
  started_at: string;
  last_heartbeat: string;
  reason: string;
}

/** A service that agents of a repository share. */
export interface SharedView {
  service: string;
  repo: string;
  runs: boolean;
  holders: Array<string>;
  volumes: boolean;
  id: string;
}

/** Something that was seen. */
export interface SignView {
  source: string;
  text: string;
}

/** One file. */
export interface SkillView {
  path: string;
  agents: Array<string>;
  state: Found;
  action: string;
}

/** All that were looked at. */
export interface SkillsView {
  skills: Array<SkillView>;
  ok: boolean;
}

/** Snapshots, oldest first. */
export interface SnapshotList {
  snapshots: Array<SnapshotView>;
}

/** Saved work of an agent. */
export interface SnapshotView {
  id: number;
  name: string;
  label: string;
  kind: string;
  reason: string;
  undo: string;
  repo: string;
  branch: string;
  ref: string;
  at: number;
  restored: boolean;
  volumes: Array<SavedVolumeView>;
  bytes: number;
}

/** A template's text. */
export interface SourceView {
  path: string;
  text: string;
}

/** One line of a spawn's progress; the last line of each agent is `done` or `failed`. */
export interface SpawnItem {
  kind: "plan" | "accepted" | "step" | "service" | "done" | "failed";
  name: string;
  step: string;
  state: string;
  detail: string;
  at: number;
  agent: AgentView | null;
  plan: PlanView | null;
  problem: Record<string, unknown> | null;
}

/** A task that was taken in. */
export interface SubmittedView {
  ok: boolean;
  success: boolean;
  task_id: string;
  key: string;
  status: string;
  blocked_by: Array<string>;
  is_repeat: boolean;
}

/** One thing that agents share. */
export interface SupplyView {
  name: string;
  unit: string;
  fits: number | null;
  total: number | null;
  free: number;
  keep: number;
  reserved: number;
  each: number;
  median: number | null;
  basis: string;
  remedy: string;
  is_advice: boolean;
}

/** A page of tasks, the newest first. */
export interface TaskList {
  tasks: Array<TaskRow>;
  counts: Record<string, number>;
  next: string;
}

/** A task in a list. */
export interface TaskRow {
  task_id: string;
  task_type: string;
  status: string;
  priority: number;
  summary: string;
  claimed_by: string;
  waits_for: number;
  attempts: number;
  error: string;
  submitted_at: string;
  ended_at: string;
}

/** All that is known of a task. */
export interface TaskViewsTaskView {
  ok: boolean;
  success: boolean;
  task_id: string;
  key: string;
  task_type: string;
  description: string;
  input_data: Record<string, unknown>;
  status: string;
  priority: number;
  repo: string;
  claimed_by: string;
  claimed_at: string;
  lease_expires_at: string;
  depends_on: Array<string>;
  waits_for: Array<string>;
  dependants: Array<string>;
  parent: string;
  discovered_from: string;
  related: Array<string>;
  capabilities: Array<string>;
  claims: Array<string>;
  dependents: string;
  budget: UsageView;
  usage: UsageView;
  run_at: string;
  retry_at: string;
  deadline: string;
  attempt_count: number;
  failures: number;
  max_attempts: number;
  result: Record<string, unknown> | null;
  error_code: string;
  error_message: string;
  cancelled_because_of: string;
  submitted_by: string;
  created_at: string;
  completed_at: string;
  history: Array<AttemptView>;
}

/** Templates in the order in which they are found. */
export interface TemplateListView {
  templates: Array<TemplateView>;
}

/** What incidents say of a template. */
export interface TemplateStatsView {
  template: string;
  incidents: number;
  mended: number;
  mttr_s: number | null;
  rungs: Array<RungStatsView>;
  problems: Array<string>;
}

/** A template that can be spawned. */
export interface TemplateView {
  name: string;
  origin: string;
  path: string;
  description: string;
  shadowed: boolean;
}

/** A thing on this host and what it is taken for. */
export interface ThingView {
  kind: "process" | "container" | "network" | "port" | "session" | "image" | "volume" | "temp" | "worktree";
  name: string;
  key: string;
  agent: string;
  verdict: "tracked" | "young" | "orphan" | "foreign" | "unknown";
  quarantined: boolean;
  age_s: number | null;
  bytes: number | null;
  reason: string;
  next: string;
}

/** A topic, or that there is one. */
export interface TopicView {
  name: string;
  summary: string;
  text: string;
}

/** What was brought back, or what can be. */
export interface UndoView {
  restored: AgentView | null;
  snapshots: Array<SnapshotView>;
  before: number;
}

/** One service, or one instance of it. */
export interface UnitHealth {
  name: string;
  kind: string;
  state: string;
  detail: string;
  since: number | null;
  probes: Array<string>;
  looks: number;
  ready_rate: number | null;
  live_rate: number | null;
  latency_p50_s: number | null;
  latency_p95_s: number | null;
  restarts: number;
}

/** What happened to one unit. */
export interface UnitResult {
  unit: string;
  act: string;
  detail: string;
}

/** A unit (a service, or an instance of one) that changes. */
export interface UnitView {
  unit: string;
  fate: string;
  impact: string;
  because: string;
  fields: Array<FieldView>;
}

/** Addresses of an agent's services. */
export interface UrlView {
  name: string;
  urls: Record<string, string>;
}

/** Of an attempt, or the most it may use; 0 is no limit. */
export interface UsageView {
  tokens: number;
  cost: number;
  wall_s: number;
  tool_calls: number;
  file_changes: number;
}

/** The result of checking a template. */
export interface ValidationView {
  ok: boolean;
  findings: Array<FindingView>;
}

/** Versions of envmgr and of what it stands on. */
export interface VersionView {
  envmgr: string;
  python: string;
  git: string;
  tmux: string;
}

/** Somebody who waits for locks. */
export interface WaiterView {
  holder: string;
  targets: Array<string>;
  mode: string;
  priority: string;
  reason: string;
  waited_s: number;
  position: number;
}

export type Where = "repo" | "user";

/** Why a task is not being done. */
export interface WhyTaskView {
  task_id: string;
  status: string;
  ready: boolean;
  reasons: Array<ObstacleView>;
  lacking: Array<string>;
  deadline: string;
}

/** State, evidence with age, last decisions, and what comes next. */
export interface WhyView {
  agent: AgentView;
  evidence: EvidenceView | null;
  steps: Array<AgentsStepView>;
  decisions: Array<EventView>;
  next: string;
}

/** It is kept. */
export interface WrittenView {
  ok: boolean;
  success: boolean;
  handoff_id: string;
  branch: string;
  head: string;
  snapshot: string;
  locks: Array<string>;
  transferred: Array<string>;
  transferred_to: string;
}
