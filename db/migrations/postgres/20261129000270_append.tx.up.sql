-- falcon_append as in the migration of kinds, but what it costs grows with the number of
-- notifications and no longer with its square: the planner joined each with each, because it
-- expects one row where up to 1000 are. The common path for many commands returns its rows at
-- once instead of one by one.
CREATE OR REPLACE FUNCTION falcon_append(
    p_cmd int[], p_user text[], p_kind text[], p_title text[], p_message text[],
    p_report bigint[], p_status smallint[], p_data text[], p_by text[],
    x_url text[], x_replaces text[], x_life bigint[],
    c_cmd int[], c_report bigint[], c_status smallint[], c_title text[], c_user text[],
    k_cmd int[], k_caller text[], k_key text[], k_body text[],
    p_now bigint, p_node text, p_wait int)
-- The outcomes are appended (with id, seq, muted and expires), report (a changed report: id
-- is its created_at and seq its updated_at), same, missing, busy, inflight, replayed (with
-- answer) and reused.
RETURNS TABLE (cmd int, ord int, outcome text, id bigint, seq bigint, muted boolean, answer text, expires bigint)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    r       record;
    rep     falcon_reports%ROWTYPE;
    k       falcon_keys%ROWTYPE;
    left_out int[] := '{}';
    users   text[];
    got     text[];
    missing text[];
    a_cmd   int[];
    a_ord   int[];
    a_id    bigint[];
    a_seq   bigint[];
    a_muted boolean[];
    box     falcon_inboxes%ROWTYPE;
    own     xid8;
    edge    xid8;
    owner   text;
    hints   text := '';
    at      bigint;
    a_expires bigint[];
    gone    bigint[];
    unread  bigint;
    hides   boolean;
    hidden  bigint;
    hidden_unread bigint;
BEGIN
    IF p_wait > 0 THEN
        PERFORM set_config('lock_timeout', p_wait::text, true);
    END IF;

    -- One notification, to a user who has an inbox, is what comes nearly always
    -- while the load is low: three statements without an array.
    IF x_url IS NULL AND cardinality(p_cmd) = 1 AND cardinality(c_cmd) = 0 AND cardinality(k_cmd) = 0 THEN
        IF p_wait IS NOT NULL THEN
            SELECT i.* INTO box FROM falcon_inboxes i WHERE i.user_id = p_user[1] FOR NO KEY UPDATE;
        ELSE
            SELECT i.* INTO box FROM falcon_inboxes i WHERE i.user_id = p_user[1] FOR NO KEY UPDATE SKIP LOCKED;
        END IF;
        IF FOUND THEN
            box.last_xid := greatest(falcon_own_xid(box.last_xid), pg_current_xact_id());
            UPDATE falcon_inboxes i SET last_seq = i.last_seq + 1, total = i.total + 1, unread = i.unread + 1,
                last_xid = box.last_xid WHERE i.user_id = p_user[1];
            cmd := p_cmd[1];
            ord := 1;
            outcome := 'appended';
            seq := box.last_seq + 1;
            hides := box.kinds ->> p_kind[1] IS NOT DISTINCT FROM '0';
            muted := hides OR NOT box.review_enabled;
            INSERT INTO falcon_notifications AS f (user_id, seq, kind, title, message, created_at, report_id, status_id, data, muted, hidden, by, xid)
                VALUES (p_user[1], box.last_seq + 1, p_kind[1], p_title[1], p_message[1], p_now, p_report[1], p_status[1],
                    p_data[1], muted, hides, coalesce(p_by[1], ''), box.last_xid)
                RETURNING f.id INTO id;
            IF hides THEN
                UPDATE falcon_inboxes i SET hidden_total = i.hidden_total + 1, hidden_unread = i.hidden_unread + 1 WHERE i.user_id = p_user[1];
            END IF;
            IF p_node IS NOT NULL AND NOT muted THEN
                PERFORM pg_notify('falcon_hint', json_build_object('n', p_node, 'u',
                    json_build_array(json_build_array(p_user[1], box.last_seq + 1)))::text);
            END IF;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    -- Many commands of one draft each, none with a key or a change of a report, are what
    -- comes nearly always while the load is high: one statement locks, numbers, inserts
    -- and counts. Commands are numbered from 0 and each has a draft, so the last number
    -- shows whether there is one each. p_node is given by nodes of earlier releases only:
    -- their hints are sent by the general way below.
    --
    -- The seq comes from what the lock read, the newest version of the row; the UPDATE
    -- finds that version, too, as the row is locked by its own transaction. A user
    -- without an inbox, or whose inbox another transaction holds, has no row in inbox:
    -- those commands take the general way below, as do those to a user with settings of
    -- kinds. So do those whose inbox was written by a transaction that this statement does
    -- not see, or by one of another cluster.
    IF x_url IS NULL AND p_wait IS NULL AND p_node IS NULL AND cardinality(p_cmd) > 1 AND p_cmd[cardinality(p_cmd)] = cardinality(p_cmd) - 1
            AND cardinality(c_cmd) = 0 AND cardinality(k_cmd) = 0 THEN
        own := pg_current_xact_id();
        edge := pg_snapshot_xmax(pg_current_snapshot());
        WITH inbox AS MATERIALIZED (
            SELECT i.user_id, i.last_seq, NOT i.review_enabled AS muted, greatest(i.last_xid, own) AS xid
            FROM falcon_inboxes i WHERE i.user_id = ANY (p_user) AND i.last_xid < edge AND i.kinds = '{}'
            ORDER BY i.user_id FOR NO KEY UPDATE SKIP LOCKED
        ), d AS MATERIALIZED (
            SELECT n.*, inbox.last_seq + row_number() OVER (PARTITION BY n.u ORDER BY n.o) AS seq, inbox.muted, inbox.xid
            FROM unnest(p_cmd, p_user, p_kind, p_title, p_message, p_report, p_status, p_data, p_by)
                 WITH ORDINALITY AS n(c, u, kind, title, message, report, status, data, by, o)
            JOIN inbox ON inbox.user_id = n.u
        ), ins AS (
            -- Ids ascend with the seq within a user: they are taken in this order, under the user's lock.
            INSERT INTO falcon_notifications AS f (user_id, seq, kind, title, message, created_at, report_id, status_id, data, muted, by, xid)
            SELECT d.u, d.seq, d.kind, d.title, d.message, p_now, d.report, d.status, d.data, d.muted, coalesce(d.by, ''), d.xid FROM d ORDER BY d.o
            RETURNING f.id, f.user_id, f.seq
        ), upd AS (
            UPDATE falcon_inboxes i SET last_seq = i.last_seq + s.n, total = i.total + s.n, unread = i.unread + s.n, last_xid = s.xid
            FROM (SELECT d.u, d.xid, count(*) AS n FROM d GROUP BY d.u, d.xid) s WHERE i.user_id = s.u
        )
        -- Each row of d has one of ins, and the other way round. A FULL JOIN is never planned as
        -- a nested loop, which would compare each with each: the planner expects one row.
        SELECT array_agg(d.c), array_agg(d.o::int), array_agg(ins.id), array_agg(d.seq), array_agg(d.muted)
            INTO a_cmd, a_ord, a_id, a_seq, a_muted
            FROM d FULL JOIN ins ON ins.user_id = d.u AND ins.seq = d.seq;
        RETURN QUERY SELECT t.c, t.o, 'appended', t.id, t.seq, t.muted, NULL::text, NULL::bigint
            FROM unnest(a_cmd, a_ord, a_id, a_seq, a_muted) AS t(c, o, id, seq, muted);
        IF cardinality(a_cmd) = cardinality(p_cmd) THEN
            RETURN;
        END IF;
        left_out := coalesce(a_cmd, '{}');
    END IF;

    IF cardinality(c_cmd) > 0 THEN
        FOR r IN SELECT c.* FROM unnest(c_cmd, c_report, c_status, c_title, c_user) AS c(cmd, report, status, title, owner)
                 ORDER BY c.report LOOP
            IF p_wait IS NOT NULL THEN
                SELECT f.* INTO rep FROM falcon_reports f WHERE f.id = r.report FOR NO KEY UPDATE;
            ELSE
                SELECT f.* INTO rep FROM falcon_reports f WHERE f.id = r.report FOR NO KEY UPDATE SKIP LOCKED;
            END IF;
            -- A report that is being erased, see falcon_tasks, is gone.
            IF FOUND AND rep.title = r.title AND rep.user_id = r.owner AND NOT EXISTS (SELECT 1 FROM falcon_tasks t
                    WHERE t.kind = 'erase' AND t.user_id = r.owner AND t.up_to >= r.report) THEN
                cmd := r.cmd;
                outcome := 'report';
                id := rep.created_at;
                seq := CASE WHEN rep.status_id = r.status THEN rep.updated_at ELSE p_now END;
                RETURN NEXT;
                id := NULL;
                seq := NULL;
                CONTINUE WHEN rep.status_id <> r.status;
                outcome := 'same';
            ELSIF NOT FOUND AND EXISTS (SELECT 1 FROM falcon_reports f WHERE f.id = r.report) THEN
                outcome := 'busy';
            ELSE
                outcome := 'missing';
            END IF;
            left_out := left_out || r.cmd;
            cmd := r.cmd;
            RETURN NEXT;
        END LOOP;
    END IF;

    IF cardinality(k_cmd) > 0 THEN
        FOR r IN SELECT c.* FROM unnest(k_cmd, k_caller, k_key, k_body) AS c(cmd, caller, key, body)
                 WHERE c.cmd <> ALL (left_out) ORDER BY c.caller, c.key LOOP
            IF NOT pg_try_advisory_xact_lock(hashtextextended(r.caller || ' ' || r.key, 1701)) THEN
                outcome := 'inflight';
            ELSE
                SELECT f.* INTO k FROM falcon_keys f WHERE f.caller = r.caller AND f.key = r.key;
                CONTINUE WHEN NOT FOUND OR k.created_at <= p_now - 86400000;
                outcome := CASE WHEN k.body = r.body THEN 'replayed' ELSE 'reused' END;
                answer := k.answer;
            END IF;
            left_out := left_out || r.cmd;
            cmd := r.cmd;
            RETURN NEXT;
            answer := NULL;
        END LOOP;
    END IF;

    SELECT array_agg(DISTINCT d.u ORDER BY d.u) INTO users
        FROM unnest(p_cmd, p_user) AS d(c, u) WHERE d.c <> ALL (left_out);
    IF users IS NULL THEN
        RETURN;
    END IF;
    FOR attempt IN 1..2 LOOP
        IF p_wait IS NOT NULL THEN
            SELECT array_agg(s.user_id) INTO got FROM (SELECT i.user_id FROM falcon_inboxes i
                WHERE i.user_id = ANY (users) ORDER BY i.user_id FOR NO KEY UPDATE) s;
        ELSE
            SELECT array_agg(s.user_id) INTO got FROM (SELECT i.user_id FROM falcon_inboxes i
                WHERE i.user_id = ANY (users) ORDER BY i.user_id FOR NO KEY UPDATE SKIP LOCKED) s;
        END IF;
        EXIT WHEN attempt = 2 OR cardinality(got) = cardinality(users);
        -- Users without an inbox. Whoever makes one holds an advisory lock until it
        -- commits, so the INSERT below never waits for another transaction.
        FOR r IN SELECT u FROM unnest(users) AS u
                 WHERE NOT EXISTS (SELECT 1 FROM falcon_inboxes i WHERE i.user_id = u) ORDER BY u LOOP
            IF p_wait IS NOT NULL THEN
                PERFORM pg_advisory_xact_lock(hashtextextended(r.u, 1702));
            ELSE
                CONTINUE WHEN NOT pg_try_advisory_xact_lock(hashtextextended(r.u, 1702));
            END IF;
            INSERT INTO falcon_inboxes (user_id) VALUES (r.u) ON CONFLICT DO NOTHING;
        END LOOP;
    END LOOP;
    IF got IS NULL OR cardinality(got) < cardinality(users) THEN
        FOR r IN SELECT DISTINCT d.c FROM unnest(p_cmd, p_user) AS d(c, u)
                 WHERE d.c <> ALL (left_out) AND (got IS NULL OR d.u <> ALL (got)) LOOP
            left_out := left_out || r.c;
            cmd := r.c;
            outcome := 'busy';
            RETURN NEXT;
        END LOOP;
    END IF;

    -- Under the locks: a new statement, so a new snapshot that sees the last seqs.
    IF x_url IS NOT NULL THEN
        at := falcon_now(); -- the clock that reads go by
    END IF;
    WITH d AS MATERIALIZED (
        SELECT n.c, n.o, n.u, n.kind, n.title, n.message, n.report, n.status, n.data,
               coalesce(n.by, '') AS by, coalesce(n.url, '') AS url, coalesce(n.replaces, '') AS replaces,
               CASE WHEN n.life > 0 THEN at + n.life ELSE 0 END AS expires,
               i.last_seq + row_number() OVER (PARTITION BY n.u ORDER BY n.o) AS seq,
               NOT i.review_enabled OR i.kinds ->> n.kind IS NOT DISTINCT FROM '0' AS muted, i.kinds ->> n.kind IS NOT DISTINCT FROM '0' AS hides,
               greatest(falcon_own_xid(i.last_xid), pg_current_xact_id()) AS xid
        FROM unnest(p_cmd, p_user, p_kind, p_title, p_message, p_report, p_status, p_data, p_by,
                    x_url, x_replaces, x_life)
             WITH ORDINALITY AS n(c, u, kind, title, message, report, status, data, by, url, replaces, life, o)
        JOIN falcon_inboxes i ON i.user_id = n.u
        WHERE n.c <> ALL (left_out)
    ), ins AS (
        -- Ids ascend with the seq within a user: they are taken in this order, under the user's lock.
        INSERT INTO falcon_notifications AS f (user_id, seq, kind, title, message, created_at, report_id, status_id, data, muted, hidden, by, url, replaces, expires_at, xid)
        SELECT d.u, d.seq, d.kind, d.title, d.message, p_now, d.report, d.status, d.data, d.muted, d.hides, d.by, d.url, d.replaces, d.expires, d.xid FROM d ORDER BY d.o
        RETURNING f.id, f.user_id, f.seq
    ), upd AS (
        UPDATE falcon_inboxes i SET last_seq = i.last_seq + s.n, total = i.total + s.n, unread = i.unread + s.n,
               hidden_total = i.hidden_total + s.hidden, hidden_unread = i.hidden_unread + s.hidden,
               last_xid = greatest(falcon_own_xid(i.last_xid), pg_current_xact_id())
        FROM (SELECT d.u, count(*) AS n, count(*) FILTER (WHERE d.hides) AS hidden FROM d GROUP BY d.u) s WHERE i.user_id = s.u
    )
    SELECT array_agg(d.c), array_agg(d.o::int), array_agg(ins.id), array_agg(d.seq), array_agg(d.muted), array_agg(d.expires)
        INTO a_cmd, a_ord, a_id, a_seq, a_muted, a_expires
        FROM d FULL JOIN ins ON ins.user_id = d.u AND ins.seq = d.seq;
    IF a_cmd IS NULL THEN
        RETURN;
    END IF;

    -- What these supersede leaves the log in the same transaction, also where it came in
    -- this very call: the last one of a key stays. So there is at most one row of a key, and
    -- this costs an index probe a key. Rows that are being erased, or expired and are not
    -- swept yet, belong to somebody else's count.
    IF x_replaces IS NOT NULL THEN
        FOR owner, gone, unread, hidden, hidden_unread IN
            WITH last AS MATERIALIZED (
                SELECT p_user[t.ord] AS u, x_replaces[t.ord] AS key, max(t.seq) AS seq
                FROM unnest(a_ord, a_seq) AS t(ord, seq) WHERE x_replaces[t.ord] <> '' GROUP BY 1, 2
            ), n AS (
                DELETE FROM falcon_notifications f USING last, falcon_inboxes i
                WHERE f.user_id = last.u AND f.replaces = last.key AND f.replaces <> '' AND f.seq < last.seq
                    AND i.user_id = last.u AND f.seq > i.erased_seq AND (f.expires_at = 0 OR f.expires_at > at)
                RETURNING f.id, f.user_id, f.seq, f.kind, f.created_at, f.by, f.read_at, f.hidden
            ), stone AS (
                INSERT INTO falcon_tombstones (id, user_id, seq, kind, why, at, committed_at, by)
                SELECT n.id, n.user_id, n.seq, n.kind, 'superseded', at, n.created_at, n.by FROM n
            )
            SELECT n.user_id, array_agg(n.id), count(*) FILTER (WHERE n.read_at = 0), count(*) FILTER (WHERE n.hidden),
                count(*) FILTER (WHERE n.hidden AND n.read_at = 0) FROM n GROUP BY n.user_id
        LOOP
            PERFORM falcon_change(owner, gone, -cardinality(gone), -unread, -hidden, -hidden_unread);
        END LOOP;
    END IF;

    IF cardinality(c_cmd) > 0 THEN
        UPDATE falcon_reports f SET status_id = c.status, updated_at = p_now
            FROM unnest(c_cmd, c_report, c_status) AS c(cmd, report, status)
            WHERE f.id = c.report AND c.cmd <> ALL (left_out);
    END IF;
    IF cardinality(k_cmd) > 0 THEN
        INSERT INTO falcon_keys AS f (caller, key, body, answer, created_at)
            SELECT c.caller, c.key, c.body, a.answer, p_now
            FROM unnest(k_cmd, k_caller, k_key, k_body) AS c(cmd, caller, key, body)
            JOIN (SELECT x.cmd, json_agg(json_build_array(x.id, x.seq, p_user[x.ord]) ORDER BY x.ord)::text AS answer
                  FROM unnest(a_cmd, a_ord, a_id, a_seq) AS x(cmd, ord, id, seq) GROUP BY x.cmd) a ON a.cmd = c.cmd
            WHERE c.cmd <> ALL (left_out)
            ON CONFLICT (caller, key) DO UPDATE
                SET body = excluded.body, answer = excluded.answer, created_at = excluded.created_at;
    END IF;
    FOR owner, seq IN SELECT p_user[t.ord], max(t.seq) FROM unnest(a_ord, a_seq, a_muted) AS t(ord, seq, muted)
            WHERE NOT t.muted GROUP BY 1 LOOP
        hints := hints || ',[' || to_json(owner) || ',' || seq || ']';
        IF octet_length(hints) > 7000 THEN
            PERFORM falcon_hint(p_node, hints);
            hints := '';
        END IF;
    END LOOP;
    PERFORM falcon_hint(p_node, hints);
    RETURN QUERY SELECT t.cmd, t.ord, 'appended'::text, t.id, t.seq, t.muted, NULL::text, t.expires
        FROM unnest(a_cmd, a_ord, a_id, a_seq, a_muted, a_expires) AS t(cmd, ord, id, seq, muted, expires) ORDER BY t.ord;
END
$$;
