-- The live state of an inbox, see the Postgres migration.
ALTER TABLE falcon_inboxes ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
ALTER TABLE falcon_inboxes ADD COLUMN rev_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE falcon_inboxes ADD COLUMN kinds TEXT NOT NULL DEFAULT '{}';
ALTER TABLE falcon_inboxes ADD COLUMN hidden_total INTEGER NOT NULL DEFAULT 0;
ALTER TABLE falcon_inboxes ADD COLUMN hidden_unread INTEGER NOT NULL DEFAULT 0;
ALTER TABLE falcon_notifications ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
CREATE TABLE falcon_changes (
    user_id TEXT    NOT NULL,
    rev     INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    seq     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, rev, id)
) WITHOUT ROWID;
CREATE TABLE falcon_steps (
    kind     TEXT    NOT NULL,
    user_id  TEXT    NOT NULL,
    up_to    INTEGER NOT NULL,
    at_seq   INTEGER NOT NULL DEFAULT 0,
    begun_at INTEGER NOT NULL,
    PRIMARY KEY (kind, user_id)
) WITHOUT ROWID;
