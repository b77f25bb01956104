-- What was asked of envmgr and what came of it. Each row's hash covers the row and the hash of the row before it.
-- Hashes are blobs of 32 bytes; moments and spans are whole microseconds, so that every language writes them alike.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    request TEXT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    operation TEXT NOT NULL,
    target TEXT NOT NULL,
    decision TEXT NOT NULL,
    outcome TEXT NOT NULL,
    params TEXT NOT NULL,
    result TEXT NOT NULL,
    latency_us INTEGER,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Up to here rows may be deleted: they were exported, and a signed checkpoint outside of the database says so too.
CREATE TABLE audit_cut (
    through INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
) STRICT;

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
WHEN OLD.seq > (SELECT coalesce(max(through), 0) FROM audit_cut)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

-- INSERT OR REPLACE deletes without the trigger above (recursive_triggers is off).
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_cut_no_update BEFORE UPDATE ON audit_cut
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_cut_no_delete BEFORE DELETE ON audit_cut
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_cut_no_replace BEFORE INSERT ON audit_cut
WHEN NEW.through <= (SELECT coalesce(max(through), 0) FROM audit_cut)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

-- Keys by which agents and programs say who they are. Only the hash is known here.
CREATE TABLE api_key (
    id TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    agent TEXT NOT NULL,
    generation INTEGER NOT NULL,
    scopes TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    revoked_at REAL NOT NULL,
    used_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_key_by_agent ON api_key (agent) WHERE agent != '';
