-- The relay to an external MQTT cluster, see the Postgres migration.
CREATE TABLE falcon_relay (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    node       TEXT    NOT NULL,
    held_until INTEGER NOT NULL,
    state      TEXT    NOT NULL
);

CREATE TABLE falcon_touched (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT    NOT NULL
);

CREATE TRIGGER falcon_notifications_touch AFTER DELETE ON falcon_notifications
WHEN EXISTS (SELECT 1 FROM falcon_relay WHERE held_until > (unixepoch('subsec') - 604800) * 1000)
BEGIN
    INSERT INTO falcon_touched (user_id) VALUES (OLD.user_id);
END;

CREATE TRIGGER falcon_inboxes_touch_gone AFTER DELETE ON falcon_inboxes
WHEN EXISTS (SELECT 1 FROM falcon_relay WHERE held_until > (unixepoch('subsec') - 604800) * 1000)
BEGIN
    INSERT INTO falcon_touched (user_id) VALUES (OLD.user_id);
END;

CREATE TRIGGER falcon_inboxes_touch AFTER UPDATE OF review_enabled ON falcon_inboxes
WHEN OLD.review_enabled <> NEW.review_enabled
    AND EXISTS (SELECT 1 FROM falcon_relay WHERE held_until > (unixepoch('subsec') - 604800) * 1000)
BEGIN
    INSERT INTO falcon_touched (user_id) VALUES (NEW.user_id);
END;
