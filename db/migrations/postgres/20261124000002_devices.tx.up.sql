-- When a device connects, each step is one function call: one round trip, with plans that are
-- made once per database connection. Sequential scans are off in the functions for the reason
-- given at falcon_append.

-- falcon_now returns the database's time in Unix milliseconds. Nodes use it because their own
-- clocks may differ.
CREATE FUNCTION falcon_now() RETURNS bigint LANGUAGE sql VOLATILE
RETURN (extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- For the sessions that a node left open, in the order of their expiry after its last beat.
CREATE INDEX falcon_sessions_node ON falcon_sessions (node, expiry_ms) WHERE node <> '';

-- falcon_open opens a session with a new generation. The generation is assigned while the row
-- is locked, so a later call has a higher one. p_keep is how many sessions a user may have,
-- and p_timeout the time in ms without a beat after which a node counts as dead. Locks are
-- taken in this order: the user's advisory lock, which is only needed for a new row, then rows.
CREATE FUNCTION falcon_open(p_user text, p_client text, p_node text, p_clean boolean, p_expiry bigint,
    p_keep int, p_timeout bigint)
RETURNS TABLE (gen bigint, present boolean, subscribed boolean, qos smallint, rap boolean, sub_id int,
    from_seq bigint, acked_seq bigint, sent_seq bigint)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    s       falcon_sessions%ROWTYPE;
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
            UPDATE falcon_sessions f SET generation = nextval('falcon_generation'), node = p_node, expiry_ms = p_expiry,
                    expires_at = 0, used_at = at, from_seq = least(f.from_seq, last), acked_seq = least(f.acked_seq, last),
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
                SELECT e.client_id FROM falcon_sessions e
                LEFT JOIN falcon_nodes n ON n.id = e.node AND n.beat_at > at - p_timeout
                WHERE e.user_id = p_user AND e.client_id <> p_client
                ORDER BY n.id IS NULL, e.used_at DESC, e.client_id OFFSET p_keep - 1);
            RETURN NEXT;
            RETURN;
        END IF;
        -- Another connection of the same device was faster: look again.
    END LOOP;
END
$$;

-- falcon_subscribe stores a device's subscription and returns where its user's log ends, which
-- it reads once while the session is locked; the cursor of a new subscription is exactly
-- there. It returns no row if p_gen is not the current generation.
--
-- Notifications up to from_seq were never sent. A first subscription and a move forward
-- (p_since) set it to the new position; a move back lowers it if it was above that.
CREATE FUNCTION falcon_subscribe(p_user text, p_client text, p_gen bigint, p_qos int, p_rap boolean, p_sub_id int,
    p_since bigint)
RETURNS TABLE (last bigint, id bigint, user_id text, seq bigint, kind text, title text, message text, created_at bigint,
    read_at bigint, report_id bigint, status_id smallint, data text, muted boolean)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    start bigint;
BEGIN
    PERFORM 1 FROM falcon_sessions f WHERE f.user_id = p_user AND f.client_id = p_client AND f.generation = p_gen
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT h.last_seq, n.id, n.user_id, n.seq, n.kind, n.title, n.message, n.created_at, n.read_at, n.report_id,
            n.status_id, n.data, n.muted
        INTO last, id, user_id, seq, kind, title, message, created_at, read_at, report_id, status_id, data, muted
        FROM (SELECT coalesce(max(i.last_seq), 0) AS last_seq, bool_and(i.review_enabled) AS listed
              FROM falcon_inboxes i WHERE i.user_id = p_user) h
        LEFT JOIN LATERAL (SELECT l.* FROM falcon_notifications l WHERE l.user_id = p_user
                           ORDER BY l.seq DESC LIMIT 1) n ON h.listed;
    start := CASE WHEN p_since IS NULL THEN last ELSE least(greatest(p_since, 0), last) END;
    UPDATE falcon_sessions f SET subscribed = true, qos = p_qos, rap = p_rap, sub_id = p_sub_id,
        from_seq = CASE WHEN NOT f.subscribed THEN start WHEN p_since IS NULL THEN f.from_seq
                        WHEN start > f.acked_seq THEN start ELSE least(f.from_seq, start) END,
        acked_seq = CASE WHEN f.subscribed AND p_since IS NULL THEN f.acked_seq ELSE start END
        WHERE f.user_id = p_user AND f.client_id = p_client;
    RETURN NEXT;
END
$$;

-- falcon_advance moves many cursors in one statement. An outdated generation matches no row.
-- No cursor moves back or beyond the end of its user's log. from_seq is raised when a cursor
-- skips what was not acknowledged. Rows are locked in one order, so two batches cannot
-- deadlock. A change made while the statement waited for a lock is taken into account, since
-- UPDATE evaluates its condition again on the newest version of a row.
CREATE FUNCTION falcon_advance(p_user text[], p_client text[], p_gen bigint[], p_acked bigint[], p_sent bigint[],
    p_leap bigint[], p_closed boolean[], p_expiry bigint[])
RETURNS void LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    WITH a AS MATERIALIZED (
        SELECT u, c, g, max(acked) AS acked, max(sent) AS sent, max(leap) AS leap, bool_or(closed) AS closed, max(expiry) AS expiry
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

-- falcon_register maintains the list of live connections and stores orders to end those that a
-- later connection of the same device replaces. Calls run one at a time, so each sees all
-- earlier ones. None waits for a client, because each call is a transaction of its own.
CREATE FUNCTION falcon_register(p_node text, o_user text[], o_client text[], o_gen bigint[], o_protocol smallint[],
    o_transport text[], o_remote text[], o_persistent boolean[], o_since bigint[],
    c_user text[], c_client text[], c_gen bigint[], p_reason int)
RETURNS void LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1704);
    -- What a newer connection replaces, wherever it is.
    INSERT INTO falcon_orders (node, user_id, client_id, generation, reason, at)
        SELECT f.node, f.user_id, f.client_id, o.gen, p_reason, falcon_now()
        FROM (SELECT n.u, n.c, max(n.g) AS gen FROM unnest(o_user, o_client, o_gen) AS n(u, c, g) GROUP BY n.u, n.c) o
        JOIN falcon_connections f ON f.user_id = o.u AND f.client_id = o.c
        WHERE f.generation < o.gen AND NOT EXISTS (
            SELECT 1 FROM unnest(c_user, c_client, c_gen) AS n(u, c, g)
            WHERE n.u = f.user_id AND n.c = f.client_id AND n.g = f.generation);
    INSERT INTO falcon_connections AS f
            (user_id, client_id, generation, node, protocol, transport, remote, persistent, since)
        SELECT DISTINCT ON (n.u, n.c) n.u, n.c, n.g, p_node, n.protocol, n.transport, n.remote, n.persistent, n.since
        FROM unnest(o_user, o_client, o_gen, o_protocol, o_transport, o_remote, o_persistent, o_since)
            AS n(u, c, g, protocol, transport, remote, persistent, since)
        ORDER BY n.u, n.c, n.g DESC
        ON CONFLICT (user_id, client_id) DO UPDATE SET generation = excluded.generation, node = excluded.node,
            protocol = excluded.protocol, transport = excluded.transport, remote = excluded.remote,
            persistent = excluded.persistent, since = excluded.since
        WHERE f.generation < excluded.generation;
    -- What came too late: a newer connection is known already.
    INSERT INTO falcon_orders (node, user_id, client_id, generation, reason, at)
        SELECT p_node, f.user_id, f.client_id, f.generation, p_reason, falcon_now()
        FROM unnest(o_user, o_client, o_gen) AS n(u, c, g)
        JOIN falcon_connections f ON f.user_id = n.u AND f.client_id = n.c
        WHERE n.g < f.generation;
    DELETE FROM falcon_connections f USING unnest(c_user, c_client, c_gen) AS n(u, c, g)
        WHERE f.user_id = n.u AND f.client_id = n.c AND f.generation = n.g;
END
$$;

REVOKE EXECUTE ON FUNCTION falcon_now, falcon_open, falcon_subscribe, falcon_advance, falcon_register FROM PUBLIC;
