-- Notifications that no device acknowledges in time, see the Postgres migration.
CREATE TABLE falcon_registrations (
    user_id       TEXT    NOT NULL,
    client_id     TEXT    NOT NULL,
    endpoint      TEXT    NOT NULL,
    endpoint_hash TEXT    NOT NULL UNIQUE,
    p256dh        TEXT    NOT NULL,
    auth          TEXT    NOT NULL,
    jti           TEXT    NOT NULL DEFAULT '',
    iat           INTEGER NOT NULL DEFAULT 0,
    used_at       INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) WITHOUT ROWID;
CREATE INDEX falcon_registrations_jti ON falcon_registrations (jti) WHERE jti <> '';
CREATE INDEX falcon_registrations_age ON falcon_registrations (used_at);

CREATE TABLE falcon_leases (
    name       TEXT    PRIMARY KEY,
    node       TEXT    NOT NULL,
    held_until INTEGER NOT NULL,
    state      TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE falcon_late (
    ref             TEXT    PRIMARY KEY,
    rule            TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    client_id       TEXT    NOT NULL,
    notification_id INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    since           INTEGER NOT NULL,
    due_at          INTEGER NOT NULL,
    tries           INTEGER NOT NULL DEFAULT 0,
    state           INTEGER NOT NULL DEFAULT 0,
    forced          INTEGER NOT NULL DEFAULT 0,
    status          INTEGER NOT NULL DEFAULT 0,
    done_at         INTEGER NOT NULL DEFAULT 0,
    UNIQUE (notification_id, client_id, rule)
) WITHOUT ROWID;
CREATE INDEX falcon_late_push ON falcon_late (due_at) WHERE state = 0 AND client_id <> '';
CREATE INDEX falcon_late_webhook ON falcon_late (due_at) WHERE state = 0 AND client_id = '';
CREATE INDEX falcon_late_user ON falcon_late (user_id, client_id);
CREATE INDEX falcon_late_done ON falcon_late (done_at) WHERE state > 0;

CREATE TABLE falcon_acks (
    user_id    TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    from_seq   INTEGER NOT NULL,
    acked_seq  INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id, generation)
) WITHOUT ROWID;
CREATE INDEX falcon_acks_age ON falcon_acks (at);
