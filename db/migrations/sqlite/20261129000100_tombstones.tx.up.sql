-- What a notification may have besides its texts, and what is kept of one that is gone, see the
-- Postgres migrations.
ALTER TABLE falcon_notifications ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE falcon_notifications ADD COLUMN url TEXT NOT NULL DEFAULT '';
ALTER TABLE falcon_notifications ADD COLUMN replaces TEXT NOT NULL DEFAULT '';
ALTER TABLE falcon_notifications ADD COLUMN "by" TEXT NOT NULL DEFAULT '';

CREATE TABLE falcon_tombstones (
    id           INTEGER PRIMARY KEY,
    user_id      TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    why          TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    committed_at INTEGER NOT NULL,
    "by"         TEXT    NOT NULL
);
CREATE INDEX falcon_tombstones_age ON falcon_tombstones (at);
CREATE INDEX falcon_tombstones_user ON falcon_tombstones (user_id, seq);

CREATE INDEX falcon_notifications_expiry ON falcon_notifications (expires_at, id) WHERE expires_at > 0;
CREATE INDEX falcon_notifications_expired ON falcon_notifications (user_id, expires_at) WHERE expires_at > 0;
CREATE INDEX falcon_notifications_replaces ON falcon_notifications (user_id, replaces) WHERE replaces <> '';
