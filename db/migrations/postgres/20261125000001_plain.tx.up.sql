-- falcon_append_plain does what falcon_append does for the most common commands under load:
-- those of one draft each, without a key or a change of a report. One statement locks, numbers,
-- inserts and counts. It stores nothing and returns no row for a command that it cannot
-- complete at once, because the user has no inbox yet or another transaction locks it. The
-- caller passes such a command to falcon_append.
--
-- The seq comes from the locked row, which is the newest version. The UPDATE finds the same
-- version, since the row is locked by its own transaction.
CREATE FUNCTION falcon_append_plain(
    p_user text[], p_kind text[], p_title text[], p_message text[],
    p_report bigint[], p_status smallint[], p_data text[],
    p_now bigint, p_node text)
-- ord: which draft, from 1.
RETURNS TABLE (ord int, id bigint, seq bigint, muted boolean)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    own   xid8 := pg_current_xact_id();
    owner text;
    hints text := '';
BEGIN
    FOR ord, id, seq, muted, owner IN
        WITH box AS MATERIALIZED (
            SELECT i.user_id, i.last_seq, NOT i.review_enabled AS muted, greatest(i.last_xid, own) AS xid
            FROM falcon_inboxes i WHERE i.user_id = ANY (p_user) ORDER BY i.user_id FOR NO KEY UPDATE SKIP LOCKED
        ), d AS MATERIALIZED (
            SELECT n.*, box.last_seq + row_number() OVER (PARTITION BY n.u ORDER BY n.o) AS seq, box.muted, box.xid
            FROM unnest(p_user, p_kind, p_title, p_message, p_report, p_status, p_data)
                 WITH ORDINALITY AS n(u, kind, title, message, report, status, data, o)
            JOIN box ON box.user_id = n.u
        ), ins AS (
            -- Ids ascend with the seq within a user: they are taken in this order, under the user's lock.
            INSERT INTO falcon_notifications AS f (user_id, seq, kind, title, message, created_at, report_id, status_id, data, muted, xid)
            SELECT d.u, d.seq, d.kind, d.title, d.message, p_now, d.report, d.status, d.data, d.muted, d.xid FROM d ORDER BY d.o
            RETURNING f.id, f.user_id, f.seq
        ), upd AS (
            UPDATE falcon_inboxes i SET last_seq = i.last_seq + s.n, total = i.total + s.n, unread = i.unread + s.n, last_xid = s.xid
            FROM (SELECT d.u, d.xid, count(*) AS n FROM d GROUP BY d.u, d.xid) s WHERE i.user_id = s.u
        )
        SELECT d.o, ins.id, d.seq, d.muted, d.u FROM d JOIN ins ON ins.user_id = d.u AND ins.seq = d.seq
    LOOP
        RETURN NEXT;
        IF NOT muted THEN
            hints := hints || ',[' || to_json(owner) || ',' || seq || ']';
        END IF;
    END LOOP;
    IF p_node IS NOT NULL AND hints <> '' THEN
        PERFORM pg_notify('falcon_hint', '{"n":' || to_json(p_node)
            || CASE WHEN octet_length(hints) > 7700 THEN ',"all":true}' ELSE ',"u":[' || substr(hints, 2) || ']}' END);
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION falcon_append_plain FROM PUBLIC;
