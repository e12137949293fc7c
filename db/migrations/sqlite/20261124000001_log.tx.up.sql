-- The log. Times are Unix milliseconds on SQLite and Postgres.

CREATE TABLE falcon_inboxes (
    user_id        TEXT PRIMARY KEY,
    last_seq       INTEGER NOT NULL DEFAULT 0,
    total          INTEGER NOT NULL DEFAULT 0,
    unread         INTEGER NOT NULL DEFAULT 0,
    review_enabled INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

CREATE TABLE falcon_notifications (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again; one writer, so in commit order
    user_id    TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    read_at    INTEGER NOT NULL DEFAULT 0,
    report_id  INTEGER NOT NULL DEFAULT 0,
    status_id  INTEGER NOT NULL DEFAULT 0,
    data       TEXT    NOT NULL DEFAULT '',
    muted      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (user_id, seq)
);
CREATE INDEX falcon_notifications_unread ON falcon_notifications (user_id, seq) WHERE read_at = 0;

CREATE TABLE falcon_reports (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    status_id  INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX falcon_reports_user ON falcon_reports (user_id, id);

CREATE TABLE falcon_keys (
    caller     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    answer     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX falcon_keys_age ON falcon_keys (created_at);

CREATE TABLE falcon_sessions (
    user_id    TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    node       TEXT    NOT NULL DEFAULT '',
    expiry_ms  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL DEFAULT 0,
    used_at    INTEGER NOT NULL,
    subscribed INTEGER NOT NULL DEFAULT 0,
    qos        INTEGER NOT NULL DEFAULT 0,
    rap        INTEGER NOT NULL DEFAULT 0,
    sub_id     INTEGER NOT NULL DEFAULT 0,
    from_seq   INTEGER NOT NULL DEFAULT 0,
    acked_seq  INTEGER NOT NULL DEFAULT 0,
    sent_seq   INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (user_id, client_id)
) WITHOUT ROWID;
CREATE INDEX falcon_sessions_expiry ON falcon_sessions (expires_at) WHERE expires_at > 0;

CREATE TABLE falcon_nodes (
    id         TEXT PRIMARY KEY,
    started_at INTEGER NOT NULL,
    beat_at    INTEGER NOT NULL,
    figures    TEXT    NOT NULL DEFAULT '{}'
) WITHOUT ROWID;

CREATE TABLE falcon_connections (
    user_id    TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    node       TEXT    NOT NULL,
    protocol   INTEGER NOT NULL,
    transport  TEXT    NOT NULL,
    remote     TEXT    NOT NULL,
    persistent INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) WITHOUT ROWID;
CREATE INDEX falcon_connections_node ON falcon_connections (node);

CREATE TABLE falcon_orders (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    node       TEXT    NOT NULL DEFAULT '',
    user_id    TEXT    NOT NULL,
    client_id  TEXT    NOT NULL DEFAULT '',
    generation INTEGER NOT NULL,
    reason     INTEGER NOT NULL,
    at         INTEGER NOT NULL
);
CREATE INDEX falcon_orders_at ON falcon_orders (at);

CREATE TABLE falcon_revocations (
    jti       TEXT    NOT NULL DEFAULT '',
    user_id   TEXT    NOT NULL DEFAULT '',
    before_at INTEGER NOT NULL DEFAULT 0,
    at        INTEGER NOT NULL,
    PRIMARY KEY (jti, user_id)
) WITHOUT ROWID;
CREATE INDEX falcon_revocations_at ON falcon_revocations (at);

CREATE TABLE falcon_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO falcon_meta VALUES ('generation', '0');
