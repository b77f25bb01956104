-- What is looked for several times a second is found without reading whole tables.
CREATE INDEX lock_by_end ON lock (expires_at);

DROP INDEX lock_by_holder;

CREATE INDEX lock_by_holder ON lock (holder, life);

CREATE INDEX session_of_run ON session (principal) WHERE NOT is_over AND json_extract(record, '$.life') != '';

-- Whoever had a task that was called off is told so once; then it is 0 again.
ALTER TABLE task ADD COLUMN untold INTEGER NOT NULL DEFAULT 0;

CREATE INDEX task_untold ON task (holder) WHERE untold = 1;
