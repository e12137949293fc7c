-- The epochs of the log, see docs/decisions/0002-epoch.md. A new epoch is only a new row in
-- this table: no session or notification is rewritten. Instead, rows are interpreted by the
-- epoch in which they were written. A session is of a former epoch if its generation is not
-- above the generation of the current epoch, since each epoch raises the generations.
CREATE TABLE falcon_epochs (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text   NOT NULL,
    generation bigint NOT NULL, -- connections of this epoch have a higher one
    last_id    bigint NOT NULL, -- notifications of this epoch have a higher id
    next_xid   xid8   NOT NULL, -- the transactions before this epoch on this cluster have a lower one
    begun_at   bigint NOT NULL
);

-- falcon_open as in the migration of devices, except for a cursor of a former epoch. If the
-- newest notification at or below such a cursor was appended in the current epoch, the device
-- has not received it, although its seq is below the cursor. The cursor is then set back to the
-- last notification that the device can have received, which takes one step along the index
-- (user_id, seq) for each notification in between.
CREATE OR REPLACE FUNCTION falcon_open(p_user text, p_client text, p_node text, p_clean boolean, p_expiry bigint,
    p_keep int, p_timeout bigint)
RETURNS TABLE (gen bigint, present boolean, subscribed boolean, qos smallint, rap boolean, sub_id int,
    from_seq bigint, acked_seq bigint, sent_seq bigint)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    s       falcon_sessions%ROWTYPE;
    past    bigint;
    existed boolean;
    at      bigint;
    beat    bigint;
    last    bigint;
BEGIN
    LOOP
        SELECT f.* INTO s FROM falcon_sessions f WHERE f.user_id = p_user AND f.client_id = p_client FOR UPDATE;
        existed := FOUND;
        at := falcon_now();
        present := existed AND NOT p_clean;
        IF present AND s.node = '' THEN
            present := s.expires_at > at;
        ELSIF present THEN
            beat := coalesce((SELECT n.beat_at FROM falcon_nodes n WHERE n.id = s.node), s.used_at);
            present := beat + greatest(p_timeout, s.expiry_ms) > at;
        END IF;

        IF NOT present AND p_expiry = 0 THEN
            IF existed THEN
                DELETE FROM falcon_sessions f WHERE f.user_id = p_user AND f.client_id = p_client;
            END IF;
            gen := nextval('falcon_generation');
            RETURN NEXT;
            RETURN;
        END IF;

        IF present THEN
            last := coalesce((SELECT i.last_seq FROM falcon_inboxes i WHERE i.user_id = p_user), 0);
            SELECT coalesce((SELECT n.seq FROM falcon_notifications n WHERE n.user_id = p_user AND n.seq <= s.acked_seq
                        AND n.id <= e.last_id ORDER BY n.seq DESC LIMIT 1), 0) INTO past
                FROM (SELECT c.* FROM falcon_epochs c ORDER BY c.number DESC LIMIT 1) e
                WHERE s.generation <= e.generation AND e.last_id < (SELECT n.id FROM falcon_notifications n
                    WHERE n.user_id = p_user AND n.seq <= s.acked_seq ORDER BY n.seq DESC LIMIT 1);
            IF FOUND THEN
                s.acked_seq := past;
                s.from_seq := least(s.from_seq, past);
            END IF;
            UPDATE falcon_sessions f SET generation = nextval('falcon_generation'), node = p_node, expiry_ms = p_expiry,
                    expires_at = 0, used_at = at, from_seq = least(s.from_seq, last), acked_seq = least(s.acked_seq, last),
                    sent_seq = -1
                WHERE f.user_id = p_user AND f.client_id = p_client
                RETURNING f.generation, f.subscribed, f.qos, f.rap, f.sub_id, f.from_seq, f.acked_seq
                INTO gen, subscribed, qos, rap, sub_id, from_seq, acked_seq;
            sent_seq := CASE WHEN s.sent_seq < 0 THEN last ELSE least(s.sent_seq, last) END;
            RETURN NEXT;
            RETURN;
        END IF;

        IF existed THEN
            UPDATE falcon_sessions f SET generation = nextval('falcon_generation'), node = p_node, expiry_ms = p_expiry,
                    expires_at = 0, used_at = at, subscribed = false, qos = 0, rap = false, sub_id = 0, from_seq = 0,
                    acked_seq = 0, sent_seq = -1
                WHERE f.user_id = p_user AND f.client_id = p_client RETURNING f.generation INTO gen;
            RETURN NEXT;
            RETURN;
        END IF;

        -- One at a time a user, so that no two make one session too many; Erase takes
        -- this lock, too, so that no session outlives its user.
        PERFORM pg_advisory_xact_lock(hashtextextended(p_user, 1703));
        INSERT INTO falcon_sessions AS f (user_id, client_id, generation, node, expiry_ms, used_at)
            VALUES (p_user, p_client, nextval('falcon_generation'), p_node, p_expiry, falcon_now())
            ON CONFLICT DO NOTHING RETURNING f.generation INTO gen;
        IF FOUND THEN
            DELETE FROM falcon_sessions f WHERE f.user_id = p_user AND f.client_id IN (
                SELECT o.client_id FROM falcon_sessions o
                LEFT JOIN falcon_nodes n ON n.id = o.node AND n.beat_at > at - p_timeout
                WHERE o.user_id = p_user AND o.client_id <> p_client
                ORDER BY n.id IS NULL, o.used_at DESC, o.client_id OFFSET p_keep - 1);
            RETURN NEXT;
            RETURN;
        END IF;
        -- Another connection of the same device was faster: look again.
    END LOOP;
END
$$;

-- falcon_advance as in the migration of devices, except for a connection of a former epoch: its
-- cursor refers to a log that no longer exists, so it can only close its session.
CREATE OR REPLACE FUNCTION falcon_advance(p_user text[], p_client text[], p_gen bigint[], p_acked bigint[], p_sent bigint[],
    p_leap bigint[], p_closed boolean[], p_expiry bigint[])
RETURNS void LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    former bigint := (SELECT e.generation FROM falcon_epochs e ORDER BY e.number DESC LIMIT 1);
BEGIN
    WITH a AS MATERIALIZED (
        SELECT u, c, g, max(CASE WHEN g <= former THEN 0 ELSE acked END) AS acked, max(CASE WHEN g <= former THEN -1 ELSE sent END) AS sent,
            max(CASE WHEN g <= former THEN 0 ELSE leap END) AS leap, bool_or(closed) AS closed, max(expiry) AS expiry
        FROM unnest(p_user, p_client, p_gen, p_acked, p_sent, p_leap, p_closed, p_expiry)
            AS a(u, c, g, acked, sent, leap, closed, expiry) GROUP BY u, c, g
    ), l AS MATERIALIZED (
        SELECT a.*, coalesce((SELECT i.last_seq FROM falcon_inboxes i WHERE i.user_id = a.u), 0) AS last
        FROM a JOIN falcon_sessions s ON s.user_id = a.u AND s.client_id = a.c AND s.generation = a.g
        ORDER BY s.user_id, s.client_id FOR UPDATE OF s
    ), gone AS (
        DELETE FROM falcon_sessions s USING l a
        WHERE s.user_id = a.u AND s.client_id = a.c AND s.generation = a.g AND a.closed AND a.expiry = 0
    )
    UPDATE falcon_sessions s SET
        from_seq = CASE WHEN a.leap > s.acked_seq THEN greatest(s.from_seq, least(a.leap, a.last)) ELSE s.from_seq END,
        acked_seq = greatest(s.acked_seq, least(a.acked, a.last)),
        sent_seq = CASE WHEN a.closed THEN least(a.sent, a.last) ELSE s.sent_seq END,
        node = CASE WHEN a.closed THEN '' ELSE s.node END,
        expiry_ms = CASE WHEN a.closed THEN a.expiry ELSE s.expiry_ms END,
        expires_at = CASE WHEN a.closed THEN a.at + a.expiry ELSE s.expires_at END,
        used_at = CASE WHEN a.closed THEN a.at ELSE s.used_at END
        FROM (SELECT l.*, (SELECT falcon_now()) AS at FROM l) a
        WHERE s.user_id = a.u AND s.client_id = a.c AND s.generation = a.g AND NOT (a.closed AND a.expiry = 0)
            AND (a.closed OR a.leap > s.acked_seq OR a.acked > s.acked_seq);
END
$$;

-- falcon_changed reads a page of the feed for the sweep: at most p_limit rows after one
-- position, up to another one and below the end of the snapshot, since higher rows came from
-- another cluster (see db/sweep.go). It returns each user with a new row that is not muted,
-- with the last seq, and then a row without a user that has the end of the page, with seq 1 if
-- the page is full. For an empty page it returns no row. The end of the page is looked up
-- first, so that the rows are read once and no plan can read more than the page.
CREATE FUNCTION falcon_changed(p_xid xid8, p_id bigint, p_end_xid xid8, p_end_id bigint, p_limit int)
RETURNS TABLE (user_id text, seq bigint, xid xid8, id bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    edge    xid8 := pg_snapshot_xmax(pg_current_snapshot());
    last    record;
    is_full boolean;
BEGIN
    SELECT n.xid, n.id INTO last FROM falcon_notifications n WHERE (n.xid, n.id) > (p_xid, p_id)
        ORDER BY n.xid, n.id OFFSET p_limit - 1 LIMIT 1;
    is_full := FOUND AND last.xid < edge AND (last.xid, last.id) <= (p_end_xid, p_end_id);
    IF NOT is_full THEN
        SELECT n.xid, n.id INTO last FROM falcon_notifications n WHERE (n.xid, n.id) > (p_xid, p_id)
            AND (n.xid, n.id) <= (p_end_xid, p_end_id) AND n.xid < edge ORDER BY n.xid DESC, n.id DESC LIMIT 1;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY SELECT n.user_id, max(n.seq), '0'::xid8, 0::bigint FROM falcon_notifications n
        WHERE (n.xid, n.id) > (p_xid, p_id) AND (n.xid, n.id) <= (last.xid, last.id) AND NOT n.muted GROUP BY n.user_id;
    RETURN QUERY SELECT '', is_full::int::bigint, last.xid, last.id;
END
$$;
REVOKE EXECUTE ON FUNCTION falcon_changed FROM PUBLIC;
