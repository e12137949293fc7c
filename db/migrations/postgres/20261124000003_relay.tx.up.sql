-- The relay to an external MQTT cluster: who relays, and how far it came.
CREATE TABLE falcon_relay (
    id         smallint PRIMARY KEY CHECK (id = 1),
    node       text   NOT NULL, -- who holds the lease; '': nobody
    held_until bigint NOT NULL, -- by the database's clock
    state      text   NOT NULL
);

-- Users whose retained message may have changed other than by a new
-- notification, in the commit-safe order of db/feed.go. Triggers fill it, so that
-- no way to mute or delete can forget to, but only where a relay ran within the
-- last week: without one nothing would ever read it.
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

-- Appends update inboxes, but not this column.
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
