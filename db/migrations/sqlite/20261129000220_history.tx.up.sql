-- The history of cursors for explain, see the Postgres migration. Here the row of a session has
-- all of its advances, and falcon_histories only the skips, since SQLite writes whole pages
-- anyway.
ALTER TABLE falcon_sessions ADD COLUMN recent      BLOB    NOT NULL DEFAULT x''; -- the last 64 advances
ALTER TABLE falcon_sessions ADD COLUMN written_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE falcon_sessions ADD COLUMN written_at  INTEGER NOT NULL DEFAULT 0;

CREATE TABLE falcon_histories (
    user_id   TEXT NOT NULL,
    client_id TEXT NOT NULL,
    advances  BLOB NOT NULL DEFAULT x'',
    skips     BLOB NOT NULL,
    PRIMARY KEY (user_id, client_id)
) WITHOUT ROWID;

CREATE TABLE falcon_past_sessions (
    user_id     TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    client_id   TEXT    NOT NULL,
    ended_at    INTEGER NOT NULL,
    used_at     INTEGER NOT NULL,
    subscribed  INTEGER NOT NULL,
    from_seq    INTEGER NOT NULL,
    acked_seq   INTEGER NOT NULL,
    sent_seq    INTEGER NOT NULL,
    written_seq INTEGER NOT NULL,
    written_at  INTEGER NOT NULL,
    advances    BLOB    NOT NULL,
    skips       BLOB    NOT NULL,
    PRIMARY KEY (user_id, generation)
) WITHOUT ROWID;
CREATE INDEX falcon_past_sessions_age ON falcon_past_sessions (ended_at);

CREATE TRIGGER falcon_sessions_gone BEFORE DELETE ON falcon_sessions
BEGIN
    INSERT OR IGNORE INTO falcon_past_sessions (user_id, generation, client_id, ended_at, used_at, subscribed, from_seq, acked_seq,
            sent_seq, written_seq, written_at, advances, skips)
        SELECT OLD.user_id, OLD.generation, OLD.client_id,
            min(coalesce(nullif(OLD.expires_at, 0), 9223372036854775807), CAST(round(unixepoch('subsec') * 1000) AS INTEGER)),
            OLD.used_at, OLD.subscribed, OLD.from_seq, OLD.acked_seq, OLD.sent_seq, OLD.written_seq, OLD.written_at, OLD.recent,
            coalesce((SELECT h.skips FROM falcon_histories h WHERE h.user_id = OLD.user_id AND h.client_id = OLD.client_id), x'')
        WHERE (OLD.subscribed OR OLD.acked_seq > 0)
            AND NOT EXISTS (SELECT 1 FROM falcon_tasks t WHERE t.kind = 'erase' AND t.user_id = OLD.user_id);
    DELETE FROM falcon_histories WHERE user_id = OLD.user_id AND client_id = OLD.client_id;
    DELETE FROM falcon_past_sessions WHERE user_id = OLD.user_id AND generation <= (
        SELECT o.generation FROM falcon_past_sessions o WHERE o.user_id = OLD.user_id ORDER BY o.generation DESC LIMIT 1 OFFSET 64);
END;

CREATE TRIGGER falcon_tasks_erase AFTER INSERT ON falcon_tasks WHEN NEW.kind = 'erase'
BEGIN
    DELETE FROM falcon_past_sessions WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER falcon_tasks_erase_goes_on AFTER UPDATE ON falcon_tasks WHEN NEW.kind = 'erase'
BEGIN
    DELETE FROM falcon_past_sessions WHERE user_id = NEW.user_id;
END;
