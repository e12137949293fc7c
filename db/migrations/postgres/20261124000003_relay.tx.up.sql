-- The relay to an external MQTT cluster: which node relays, and its position in the log.
CREATE TABLE falcon_relay (
    id         smallint PRIMARY KEY CHECK (id = 1),
    node       text   NOT NULL, -- who holds the lease; '': nobody
    held_until bigint NOT NULL, -- by the database's clock
    state      text   NOT NULL
);

-- Users whose retained message may have changed other than by a new notification, in the
-- commit-safe order of db/feed.go. Triggers fill the table, so that no code that mutes or
-- deletes can forget to. They do so only if a relay has run in the last week, since nothing
-- else reads it.
CREATE TABLE falcon_touched (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    user_id text COLLATE "C" NOT NULL
);
CREATE INDEX falcon_touched_feed ON falcon_touched (xid, id);

CREATE FUNCTION falcon_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM falcon_relay r WHERE r.held_until > falcon_now() - 604800000) THEN
        INSERT INTO falcon_touched (user_id) SELECT DISTINCT g.user_id FROM gone g;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER falcon_notifications_touch AFTER DELETE ON falcon_notifications
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION falcon_touch();
CREATE TRIGGER falcon_inboxes_touch_gone AFTER DELETE ON falcon_inboxes
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION falcon_touch();

-- On review_enabled only, since every append updates other columns of an inbox.
CREATE FUNCTION falcon_touch_muted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM falcon_relay r WHERE r.held_until > falcon_now() - 604800000) THEN
        INSERT INTO falcon_touched (user_id) VALUES (NEW.user_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER falcon_inboxes_touch AFTER UPDATE OF review_enabled ON falcon_inboxes FOR EACH ROW
    WHEN (OLD.review_enabled <> NEW.review_enabled) EXECUTE FUNCTION falcon_touch_muted();

REVOKE EXECUTE ON FUNCTION falcon_touch, falcon_touch_muted FROM PUBLIC;
