-- falcon_changed as in the migration of epochs.
CREATE OR REPLACE FUNCTION falcon_changed(p_xid xid8, p_id bigint, p_end_xid xid8, p_end_id bigint, p_limit int)
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
