CREATE TABLE incident (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    is_open INTEGER NOT NULL,
    seen_at REAL NOT NULL,
    incident TEXT NOT NULL
) STRICT;

CREATE INDEX incident_by_agent ON incident (agent, id);
