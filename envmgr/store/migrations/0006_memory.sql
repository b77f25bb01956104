-- Handoffs: what one session leaves to the next one. An automatic one is written anew for the same occasion.
CREATE TABLE handoff (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repo TEXT NOT NULL,
    agent TEXT NOT NULL,
    agent_name TEXT NOT NULL,
    branch TEXT NOT NULL,
    at REAL NOT NULL,
    occasion TEXT NOT NULL,
    handoff TEXT NOT NULL
) STRICT;

CREATE INDEX handoff_by_repo ON handoff (repo, at);
CREATE INDEX handoff_by_agent ON handoff (agent, at);
CREATE INDEX handoff_by_branch ON handoff (repo, branch, at);
CREATE UNIQUE INDEX handoff_of_occasion ON handoff (agent, occasion) WHERE occasion != '';

CREATE TABLE handoff_task (
    task TEXT NOT NULL,
    handoff INTEGER NOT NULL,
    PRIMARY KEY (task, handoff)
) STRICT, WITHOUT ROWID;

-- Sessions that have registered or called with a key. `seen_at` is steady time.
CREATE TABLE session (
    principal TEXT NOT NULL,
    session TEXT NOT NULL,
    repo TEXT NOT NULL,
    seen_at REAL NOT NULL,
    is_over INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (principal, session)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_by_sign ON session (is_over, seen_at);

CREATE TABLE memory (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repo TEXT NOT NULL,
    agent TEXT NOT NULL,
    event_type TEXT NOT NULL,
    thread TEXT NOT NULL,
    at REAL NOT NULL,
    used_at REAL NOT NULL,
    superseded_by INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    memory TEXT NOT NULL
) STRICT;

CREATE INDEX memory_by_repo ON memory (repo, id);
CREATE INDEX memory_by_thread ON memory (repo, thread, id) WHERE thread != '';
CREATE INDEX memory_by_fingerprint ON memory (repo, fingerprint, id);
CREATE INDEX memory_by_successor ON memory (superseded_by) WHERE superseded_by != 0;

CREATE TABLE memory_tag (
    memory INTEGER NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (memory, tag)
) STRICT, WITHOUT ROWID;

CREATE INDEX memory_by_tag ON memory_tag (tag, memory);

CREATE TABLE memory_file (
    memory INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (memory, path)
) STRICT, WITHOUT ROWID;

CREATE INDEX memory_by_file ON memory_file (path, memory);

CREATE TABLE memory_conflict (
    memory INTEGER NOT NULL,
    other INTEGER NOT NULL,
    PRIMARY KEY (memory, other)
) STRICT, WITHOUT ROWID;

CREATE TABLE memory_vector (
    memory INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    vector BLOB NOT NULL
) STRICT;

-- Words come ready made (`core.words`), so the simplest tokenizer does: it splits at spaces.
CREATE VIRTUAL TABLE memory_text USING fts5(summary, body, tags, paths, tokenize = 'ascii');

CREATE VIRTUAL TABLE memory_word USING fts5vocab('memory_text', 'row');
