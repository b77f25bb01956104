-- Tasks that the same claimers can do. A claim looks at the head of each lane, so its cost does not grow with the queue.
CREATE TABLE task_lane (
    id INTEGER PRIMARY KEY,
    repo TEXT NOT NULL,
    type TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    UNIQUE (repo, type, capabilities)
) STRICT;

CREATE TABLE task (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repo TEXT NOT NULL,
    lane INTEGER NOT NULL,
    type TEXT NOT NULL,
    priority INTEGER NOT NULL,
    status TEXT NOT NULL,
    unmet INTEGER NOT NULL,
    rank REAL NOT NULL,
    run_at REAL,
    due_at REAL,
    deadline_at REAL,
    failures INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    dependents TEXT NOT NULL,
    has_locks INTEGER NOT NULL,
    lease INTEGER NOT NULL DEFAULT 0,
    lease_until REAL,
    holder TEXT NOT NULL DEFAULT '',
    holder_name TEXT NOT NULL DEFAULT '',
    session TEXT NOT NULL DEFAULT '',
    life TEXT NOT NULL DEFAULT '',
    cause INTEGER NOT NULL DEFAULT 0,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    submitted_at REAL NOT NULL,
    submitted_by TEXT NOT NULL,
    claimed_at REAL,
    ended_at REAL
) STRICT;

CREATE INDEX task_ready ON task (lane, rank, id) WHERE status = 'ready';
CREATE INDEX task_by_repo ON task (repo, id);
CREATE INDEX task_by_status ON task (repo, status, id);
CREATE INDEX task_due ON task (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX task_leased ON task (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX task_ended ON task (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX task_deadline ON task (deadline_at) WHERE deadline_at IS NOT NULL AND status IN ('blocked', 'scheduled', 'ready');

-- Apart from `task`, whose rows are rewritten often: it may be long, and never changes.
CREATE TABLE task_spec (
    task INTEGER PRIMARY KEY,
    spec TEXT NOT NULL
) STRICT;

CREATE TABLE task_link (
    child INTEGER NOT NULL,
    kind TEXT NOT NULL,
    parent INTEGER NOT NULL,
    is_met INTEGER NOT NULL,
    PRIMARY KEY (child, kind, parent)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_link_by_parent ON task_link (parent, kind, child);

-- The number of an attempt is the token of its lease: given out once, and only growing.
CREATE TABLE task_attempt (
    lease INTEGER PRIMARY KEY AUTOINCREMENT,
    task INTEGER NOT NULL,
    attempt TEXT NOT NULL
) STRICT;

CREATE INDEX task_attempt_by_task ON task_attempt (task, lease);

CREATE TABLE task_request (
    repo TEXT NOT NULL,
    by TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (repo, by, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_request_at ON task_request (at);
