-- falcon_follow does what falcon_subscribe does, and returns all columns of the retained
-- message, of which there are more now. Nodes of the previous release call falcon_subscribe
-- while a cluster is restarted node by node; a migration of a later release drops it.
CREATE FUNCTION falcon_follow(p_user text, p_client text, p_gen bigint, p_qos int, p_rap boolean, p_sub_id int,
    p_since bigint)
RETURNS TABLE (last bigint, id bigint, user_id text, seq bigint, kind text, title text, message text, created_at bigint,
    read_at bigint, report_id bigint, status_id smallint, data text, muted boolean,
    url text, replaces text, expires_at bigint)
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
            n.status_id, n.data, n.muted, n.url, n.replaces, n.expires_at
        INTO last, id, user_id, seq, kind, title, message, created_at, read_at, report_id, status_id, data, muted,
            url, replaces, expires_at
        FROM (SELECT coalesce(max(i.last_seq), 0) AS last_seq, bool_and(i.review_enabled) AS listed, max(i.erased_seq) AS erased_seq
              FROM falcon_inboxes i WHERE i.user_id = p_user) h
        LEFT JOIN LATERAL (SELECT l.* FROM falcon_notifications l WHERE l.user_id = p_user AND l.seq > h.erased_seq
                               AND (l.expires_at = 0 OR l.expires_at > falcon_now())
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
REVOKE EXECUTE ON FUNCTION falcon_follow FROM PUBLIC;
