-- Work that is not finished, see the Postgres migration.
CREATE TABLE falcon_tasks (
    kind     TEXT    NOT NULL,
    user_id  TEXT    NOT NULL,
    up_to    INTEGER NOT NULL,
    at_seq   INTEGER NOT NULL DEFAULT 0,
    begun_at INTEGER NOT NULL,
    PRIMARY KEY (kind, user_id)
) WITHOUT ROWID;
ALTER TABLE falcon_inboxes ADD COLUMN erased_seq INTEGER NOT NULL DEFAULT 0;
