-- falcon_changed reads a page of the feed for the sweep: at most p_limit rows after one
-- position, up to another one and below the end of the snapshot, since higher rows came from
-- another cluster (see db/sweep.go). It returns each user with a new row that is not muted,
-- with the last seq, and then a row without a user that has the end of the page, with seq 1 if
-- the page is full. For an empty page it returns no row.
--
-- Only LIMIT ends the scan; the end of the page is applied to its result. As a second row
-- comparison in the WHERE clause, it would not stop the scan within one xid: after ten million
-- rows of one transaction, such as a loaded dump, each page would read all of them.
CREATE OR REPLACE FUNCTION falcon_changed(p_xid xid8, p_id bigint, p_end_xid xid8, p_end_id bigint, p_limit int)
RETURNS TABLE (user_id text, seq bigint, xid xid8, id bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    edge xid8 := pg_snapshot_xmax(pg_current_snapshot());
BEGIN
    RETURN QUERY WITH page AS MATERIALIZED (
        SELECT n.user_id, n.seq, n.muted, n.xid, n.id FROM falcon_notifications n WHERE (n.xid, n.id) > (p_xid, p_id)
        ORDER BY n.xid, n.id LIMIT p_limit
    ), kept AS MATERIALIZED (
        SELECT p.* FROM page p WHERE p.xid < edge AND (p.xid, p.id) <= (p_end_xid, p_end_id)
    )
    SELECT k.user_id, max(k.seq), '0'::xid8, 0::bigint FROM kept k WHERE NOT k.muted GROUP BY k.user_id
    UNION ALL
    (SELECT '', (SELECT count(*) = p_limit FROM kept)::int::bigint, k.xid, k.id FROM kept k ORDER BY k.xid DESC, k.id DESC LIMIT 1);
END
$$;
