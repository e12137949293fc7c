-- The audit log, see the Postgres migration.
CREATE TABLE falcon_audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    sub     TEXT    NOT NULL,
    jti     TEXT    NOT NULL DEFAULT '',
    action  TEXT    NOT NULL,
    user_id TEXT    NOT NULL DEFAULT '',
    remote  TEXT    NOT NULL DEFAULT '',
    detail  TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX falcon_audit_age ON falcon_audit (at);
CREATE UNIQUE INDEX falcon_audit_reads ON falcon_audit (sub, user_id, (at / 60000)) WHERE action = 'history.read';
CREATE TRIGGER falcon_audit_unchanged BEFORE UPDATE ON falcon_audit
BEGIN
    SELECT RAISE(ABORT, 'falcon_audit is append only');
END;
