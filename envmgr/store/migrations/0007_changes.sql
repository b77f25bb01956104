CREATE TABLE observed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    repo TEXT NOT NULL,
    agent TEXT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    is_main INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    violates INTEGER NOT NULL,
    holder TEXT NOT NULL,
    holder_name TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX observed_by_path ON observed (repo, agent, path, is_main);

CREATE INDEX observed_by_repo ON observed (repo, seq);

CREATE INDEX observed_by_agent ON observed (repo, agent, seq);

CREATE INDEX observed_by_age ON observed (at);

CREATE TABLE told (
    agent TEXT PRIMARY KEY,
    change INTEGER NOT NULL,
    token INTEGER NOT NULL
) STRICT;
