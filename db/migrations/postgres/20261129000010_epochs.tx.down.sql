-- The functions as in the migration of devices, without epochs.
CREATE OR REPLACE FUNCTION falcon_open(p_user text, p_client text, p_node text, p_clean boolean, p_expiry bigint,
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

CREATE OR REPLACE FUNCTION falcon_advance(p_user text[], p_client text[], p_gen bigint[], p_acked bigint[], p_sent bigint[],
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

DROP FUNCTION falcon_changed(xid8, bigint, xid8, bigint, int);
DROP TABLE falcon_epochs;
