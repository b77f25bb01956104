-- Values of the model are stored whole, as JSON; beside it stand only the columns that are searched or must be unique.

CREATE TABLE agent (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    created_at REAL NOT NULL,
    state TEXT NOT NULL,
    spec TEXT NOT NULL
) STRICT;

-- Without AUTOINCREMENT the next number is the largest one plus 1. The newest event is never deleted, so numbers only grow.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    agent TEXT NOT NULL,
    generation INTEGER NOT NULL,
    cause TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;

CREATE INDEX event_by_agent ON event (agent, seq);

-- AUTOINCREMENT: settled effects are deleted, and settling one twice must not hit another one.
CREATE TABLE effect (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    effect TEXT NOT NULL,
    cause TEXT NOT NULL
) STRICT;

CREATE TABLE journal (
    agent TEXT NOT NULL,
    generation INTEGER NOT NULL,
    step TEXT NOT NULL,
    position INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (agent, generation, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease (
    agent TEXT NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    port INTEGER NOT NULL,
    block INTEGER NOT NULL,
    held INTEGER NOT NULL,
    PRIMARY KEY (agent, service, name)
) STRICT, WITHOUT ROWID;

-- Many may remember a port, one may hold it.
CREATE UNIQUE INDEX lease_held ON lease (port) WHERE held = 1;

CREATE TABLE tombstone (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    snapshot TEXT NOT NULL,
    restored INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE setting (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
