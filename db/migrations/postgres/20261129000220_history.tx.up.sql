-- The history of cursors, for explain (db/explain.go). Every flush writes the row of a session,
-- so that row has only the latest advances; about every eighth flush moves them to a separate
-- row. With all 64 in the session's row, a flush took 1.5 times as long and wrote seven times as
-- much WAL. The entries of a list have a fixed size and are ordered from the oldest, so that one
-- is appended without parsing the others. An advance is a seq and a time in Unix ms, 8 bytes
-- each:
--   time > 0: all up to seq was acknowledged by then, except for the skips;
--   time < 0: the same by -time, but the skips are not known (by an earlier release);
--   time = 0: a SUBSCRIBE moved the cursor to seq.
ALTER TABLE falcon_sessions
    ADD COLUMN recent      bytea  NOT NULL DEFAULT '', -- the latest advances, at most 8
    ADD COLUMN written_seq bigint NOT NULL DEFAULT 0,  -- sent up to here, by the open connection at least
    ADD COLUMN written_at  bigint NOT NULL DEFAULT 0;  -- by then; 0: a former connection may have sent more

CREATE TABLE falcon_histories (
    user_id   text COLLATE "C" NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    advances  bytea NOT NULL, -- the last 64 before the session's recent ones
    skips     bytea NOT NULL, -- the last 64 ranges without an acknowledgement: above a seq, up to a seq, why, time: 8, 8, 1 and 8 bytes
    PRIMARY KEY (user_id, client_id)
) WITH (fillfactor = 70);

-- Sessions that have ended, for 30 days. Only the last 64 of a user are kept, so that nobody can
-- fill the table by connecting under new client IDs.
CREATE TABLE falcon_past_sessions (
    user_id     text COLLATE "C" NOT NULL,
    generation  bigint  NOT NULL,
    client_id   text COLLATE "C" NOT NULL,
    ended_at    bigint  NOT NULL,
    used_at     bigint  NOT NULL,
    subscribed  boolean NOT NULL,
    from_seq    bigint  NOT NULL,
    acked_seq   bigint  NOT NULL,
    sent_seq    bigint  NOT NULL,
    written_seq bigint  NOT NULL,
    written_at  bigint  NOT NULL,
    advances    bytea   NOT NULL, -- with the recent ones
    skips       bytea   NOT NULL,
    PRIMARY KEY (user_id, generation)
);
CREATE INDEX falcon_past_sessions_age ON falcon_past_sessions (ended_at);

-- falcon_remember stores s as a past session, with its history, unless its user is being erased.
CREATE FUNCTION falcon_remember(s falcon_sessions) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    h falcon_histories%ROWTYPE;
BEGIN
    DELETE FROM falcon_histories f WHERE f.user_id = s.user_id AND f.client_id = s.client_id RETURNING f.* INTO h;
    INSERT INTO falcon_past_sessions (user_id, generation, client_id, ended_at, used_at, subscribed, from_seq, acked_seq, sent_seq,
            written_seq, written_at, advances, skips)
        SELECT s.user_id, s.generation, s.client_id, least(nullif(s.expires_at, 0), falcon_now()), s.used_at, s.subscribed,
            s.from_seq, s.acked_seq, s.sent_seq, s.written_seq, s.written_at, coalesce(h.advances, '') || s.recent, coalesce(h.skips, '')
        WHERE (s.subscribed OR s.acked_seq > 0)
            AND NOT EXISTS (SELECT 1 FROM falcon_tasks t WHERE t.kind = 'erase' AND t.user_id = s.user_id)
        ON CONFLICT DO NOTHING;
    DELETE FROM falcon_past_sessions p WHERE p.user_id = s.user_id AND p.generation <= (
        SELECT o.generation FROM falcon_past_sessions o WHERE o.user_id = s.user_id ORDER BY o.generation DESC OFFSET 64 LIMIT 1);
END
$$;

-- These are triggers because sessions end in many places, and because an erasure by a node of
-- the previous release must not leave past sessions either.
CREATE FUNCTION falcon_session_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM falcon_remember(OLD);
    RETURN OLD;
END
$$;
CREATE TRIGGER falcon_sessions_gone BEFORE DELETE ON falcon_sessions FOR EACH ROW EXECUTE FUNCTION falcon_session_gone();

-- An erasure stores its task before anything else and changes it last, so past sessions are
-- removed at its beginning and at its end.
CREATE FUNCTION falcon_erase_begun() RETURNS trigger LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM falcon_past_sessions p WHERE p.user_id = NEW.user_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER falcon_tasks_erase AFTER INSERT OR UPDATE ON falcon_tasks
    FOR EACH ROW WHEN (NEW.kind = 'erase') EXECUTE FUNCTION falcon_erase_begun();

-- falcon_skips returns the ranges that an advance passes without an acknowledgement: what the
-- replay cap left out, from p_acked to p_leap, and what the connection did not send, which is in
-- p_passed in hex and without times.
CREATE FUNCTION falcon_skips(p_acked bigint, p_leap bigint, p_passed text, p_stamp bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    passed bytea := coalesce(decode(p_passed, 'hex'), '');
    skips  bytea := '';
BEGIN
    IF p_leap > p_acked THEN
        skips := int8send(p_acked) || int8send(p_leap) || 'c'::bytea || p_stamp;
    END IF;
    FOR i IN 0 .. octet_length(passed) / 17 - 1 LOOP
        skips := skips || substring(passed FROM 17 * i + 1 FOR 17) || p_stamp;
    END LOOP;
    RETURN skips;
END
$$;

-- falcon_open as in the migration of epochs, but it stores a session that a new one of the same
-- device replaces as a past session.
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
            s.written_at := 0; -- not known, unless the connection before ended in order
            IF s.generation <= (SELECT c.generation FROM falcon_epochs c ORDER BY c.number DESC LIMIT 1) THEN
                -- What is known of a former epoch's seqs may be of others by now.
                DELETE FROM falcon_histories f WHERE f.user_id = p_user AND f.client_id = p_client;
                s.recent := '';
                s.written_seq := 0;
            ELSIF s.sent_seq >= 0 THEN
                s.written_seq := s.sent_seq;
                s.written_at := s.used_at;
            END IF;
            UPDATE falcon_sessions f SET generation = nextval('falcon_generation'), node = p_node, expiry_ms = p_expiry,
                    expires_at = 0, used_at = at, from_seq = least(s.from_seq, last), acked_seq = least(s.acked_seq, last),
                    sent_seq = -1, recent = s.recent, written_seq = least(s.written_seq, last), written_at = s.written_at
                WHERE f.user_id = p_user AND f.client_id = p_client
                RETURNING f.generation, f.subscribed, f.qos, f.rap, f.sub_id, f.from_seq, f.acked_seq
                INTO gen, subscribed, qos, rap, sub_id, from_seq, acked_seq;
            sent_seq := CASE WHEN s.sent_seq < 0 THEN last ELSE least(s.sent_seq, last) END;
            RETURN NEXT;
            RETURN;
        END IF;

        IF existed THEN
            PERFORM falcon_remember(s);
            UPDATE falcon_sessions f SET generation = nextval('falcon_generation'), node = p_node, expiry_ms = p_expiry,
                    expires_at = 0, used_at = at, subscribed = false, qos = 0, rap = false, sub_id = 0, from_seq = 0,
                    acked_seq = 0, sent_seq = -1, recent = '', written_seq = 0, written_at = at
                WHERE f.user_id = p_user AND f.client_id = p_client RETURNING f.generation INTO gen;
            RETURN NEXT;
            RETURN;
        END IF;

        -- One at a time a user, so that no two make one session too many; Erase takes
        -- this lock, too, so that no session outlives its user.
        PERFORM pg_advisory_xact_lock(hashtextextended(p_user, 1703));
        INSERT INTO falcon_sessions AS f (user_id, client_id, generation, node, expiry_ms, used_at, written_at)
            VALUES (p_user, p_client, nextval('falcon_generation'), p_node, p_expiry, falcon_now(), falcon_now())
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

-- falcon_advance as in the migration of epochs, but it records the history of the cursors. Nodes
-- of the previous release call it without p_passed.
DROP FUNCTION falcon_advance(text[], text[], bigint[], bigint[], bigint[], bigint[], boolean[], bigint[]);
CREATE FUNCTION falcon_advance(p_user text[], p_client text[], p_gen bigint[], p_acked bigint[], p_sent bigint[],
    p_leap bigint[], p_closed boolean[], p_expiry bigint[], p_passed text[] DEFAULT NULL)
RETURNS void LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    former bigint := (SELECT e.generation FROM falcon_epochs e ORDER BY e.number DESC LIMIT 1);
    now    bigint := falcon_now();
    stamp  bytea  := int8send(now);
BEGIN
    WITH a AS MATERIALIZED (
        SELECT u, c, g, max(CASE WHEN g <= former THEN 0 ELSE acked END) AS acked, max(CASE WHEN g <= former THEN -1 ELSE sent END) AS sent,
            max(CASE WHEN g <= former THEN 0 ELSE leap END) AS leap, bool_or(closed) AS closed, max(expiry) AS expiry,
            max(passed) AS passed
        FROM unnest(p_user, p_client, p_gen, p_acked, p_sent, p_leap, p_closed, p_expiry, p_passed)
            AS a(u, c, g, acked, sent, leap, closed, expiry, passed) GROUP BY u, c, g
    ), l AS MATERIALIZED (
        SELECT a.*, coalesce((SELECT i.last_seq FROM falcon_inboxes i WHERE i.user_id = a.u), 0) AS last, s.from_seq, s.acked_seq, s.recent
        FROM a JOIN falcon_sessions s ON s.user_id = a.u AND s.client_id = a.c AND s.generation = a.g
        ORDER BY s.user_id, s.client_id FOR UPDATE OF s
    ), h AS (
        INSERT INTO falcon_histories AS h (user_id, client_id, advances, skips)
        SELECT l.u, l.c, CASE WHEN octet_length(l.recent) >= 128 THEN l.recent ELSE '' END,
            falcon_skips(l.acked_seq, least(l.leap, l.last), l.passed, stamp)
        FROM l WHERE least(l.acked, l.last) > l.acked_seq AND (octet_length(l.recent) >= 128 OR l.leap > l.acked_seq OR l.passed <> '')
        ON CONFLICT (user_id, client_id) DO UPDATE SET
            advances = substring(h.advances || excluded.advances
                FROM greatest(1, octet_length(h.advances) + octet_length(excluded.advances) - 1023)),
            skips = substring(h.skips || excluded.skips FROM greatest(1, octet_length(h.skips) + octet_length(excluded.skips) - 1599))
    )
    UPDATE falcon_sessions s SET
        from_seq = CASE WHEN a.leap > s.acked_seq THEN greatest(s.from_seq, least(a.leap, a.last)) ELSE s.from_seq END,
        acked_seq = greatest(s.acked_seq, least(a.acked, a.last)),
        recent = CASE WHEN least(a.acked, a.last) <= s.acked_seq THEN s.recent
            ELSE CASE WHEN octet_length(s.recent) >= 128 THEN '' ELSE s.recent END
                -- What else moved the cursor since: a SUBSCRIBE, which sets both, or what kept no history.
                || CASE WHEN substring(s.recent FROM octet_length(s.recent) - 15 FOR 8) = int8send(s.acked_seq) THEN ''
                    ELSE int8send(s.acked_seq) || int8send(CASE WHEN s.from_seq = s.acked_seq THEN 0 ELSE -now END) END
                || int8send(least(a.acked, a.last)) || CASE WHEN a.passed IS NULL THEN int8send(-now) ELSE stamp END END,
        written_seq = CASE WHEN a.closed OR a.sent <= a.acked THEN s.written_seq ELSE greatest(s.written_seq, least(a.sent, a.last)) END,
        written_at = CASE WHEN NOT a.closed AND a.sent > a.acked AND a.sent > s.written_seq THEN now ELSE s.written_at END,
        sent_seq = CASE WHEN a.closed THEN least(a.sent, a.last) ELSE s.sent_seq END,
        node = CASE WHEN a.closed THEN '' ELSE s.node END,
        expiry_ms = CASE WHEN a.closed THEN a.expiry ELSE s.expiry_ms END,
        expires_at = CASE WHEN a.closed THEN now + a.expiry ELSE s.expires_at END,
        used_at = CASE WHEN a.closed THEN now ELSE s.used_at END
        FROM l a
        WHERE s.user_id = a.u AND s.client_id = a.c AND s.generation = a.g
            AND (a.closed OR a.leap > s.acked_seq OR a.acked > s.acked_seq OR a.sent > a.acked AND a.sent > s.written_seq);
    IF true = ANY (p_closed) THEN -- once they moved: so they are remembered
        DELETE FROM falcon_sessions s USING unnest(p_user, p_client, p_gen, p_closed, p_expiry) AS a(u, c, g, closed, expiry)
            WHERE a.closed AND a.expiry = 0 AND s.user_id = a.u AND s.client_id = a.c AND s.generation = a.g;
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION falcon_remember, falcon_session_gone, falcon_erase_begun, falcon_skips, falcon_advance FROM PUBLIC;
