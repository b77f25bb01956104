-- AUTOINCREMENT: tokens fence, so one that was given is never given again, not even after a restart.
CREATE TABLE lock (
    token INTEGER PRIMARY KEY AUTOINCREMENT,
    repo TEXT NOT NULL,
    stem TEXT NOT NULL,
    target TEXT NOT NULL,
    mode TEXT NOT NULL,
    holder TEXT NOT NULL,
    name TEXT NOT NULL,
    life TEXT NOT NULL,
    sessions TEXT NOT NULL,
    via TEXT NOT NULL,
    reason TEXT NOT NULL,
    task TEXT NOT NULL,
    ttl_s REAL NOT NULL,
    since_at REAL NOT NULL,
    expires_at REAL NOT NULL
) STRICT;

CREATE INDEX lock_by_stem ON lock (repo, stem);

CREATE INDEX lock_by_holder ON lock (holder);

CREATE INDEX lock_by_task ON lock (task) WHERE task != '';
