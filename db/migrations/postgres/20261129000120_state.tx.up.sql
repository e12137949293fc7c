-- The live state of an inbox: its changes other than appends. rev counts the changes as
-- last_seq counts the notifications, and is assigned on the same row while that is locked. An
-- append does not raise it.
ALTER TABLE falcon_inboxes
    ADD COLUMN rev bigint NOT NULL DEFAULT 0,
    ADD COLUMN rev_from bigint NOT NULL DEFAULT 0,      -- falcon_changes is complete after this rev
    ADD COLUMN kinds jsonb NOT NULL DEFAULT '{}',       -- settings of kinds, by name: 0 mutes
    ADD COLUMN hidden_total bigint NOT NULL DEFAULT 0,  -- rows of total that are hidden
    ADD COLUMN hidden_unread bigint NOT NULL DEFAULT 0; -- rows of unread that are hidden

-- hidden means that the user mutes the row's kind: the row is neither listed, counted,
-- delivered nor retained. muted still means that the row was appended during a mute: it is
-- never delivered, even once it is listed again.
ALTER TABLE falcon_notifications ADD COLUMN hidden boolean NOT NULL DEFAULT false;

-- Which notifications of a user changed in which rev. A row says that a notification changed,
-- not how: whether it is read, unread or gone is looked up in falcon_notifications. So applying
-- a row twice, or together with a later one, has the same result. id 0 means that all up to seq
-- were read. Only a few rows are kept per user, see falcon_change.
CREATE TABLE falcon_changes (
    user_id text COLLATE "C" NOT NULL,
    rev     bigint NOT NULL,
    id      bigint NOT NULL,
    seq     bigint NOT NULL DEFAULT 0, -- with id 0
    PRIMARY KEY (user_id, rev, id)
);

-- Unfinished work as in falcon_tasks, for the kinds of work that are new in this migration. It
-- has its own table because nodes of the previous release treat a task of an unknown kind as an
-- erasure.
CREATE TABLE falcon_steps (
    kind     text   NOT NULL, -- hide: the settings of kinds changed; delete: those that are read
    user_id  text COLLATE "C" NOT NULL,
    up_to    bigint NOT NULL, -- the last seq
    at_seq   bigint NOT NULL DEFAULT 0, -- notifications up to it are done
    begun_at bigint NOT NULL,
    PRIMARY KEY (kind, user_id)
);

-- falcon_change raises a user's rev and records which notifications changed. The caller must
-- have locked the inbox row, and passes by how much its counts change: total and unread are of
-- all rows, the hidden counts of those that are hidden. If p_ids is empty, only the counts
-- change with the rev. If it is NULL or has more than 200 IDs, devices fetch the list again, as
-- after a mute. p_up_to says that all notifications up to that seq were read. The function
-- returns the rev, or NULL if the user has no inbox.
--
-- A device is told at most 200 IDs that it missed, so it is enough to keep the newest 256.
CREATE FUNCTION falcon_change(p_user text, p_ids bigint[], p_total bigint DEFAULT 0, p_unread bigint DEFAULT 0,
    p_hidden_total bigint DEFAULT 0, p_hidden_unread bigint DEFAULT 0, p_up_to bigint DEFAULT 0)
RETURNS bigint LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    n   bigint;
    cut bigint;
BEGIN
    SELECT i.rev + 1 INTO n FROM falcon_inboxes i WHERE i.user_id = p_user;
    IF p_ids IS NULL OR cardinality(p_ids) > 200 THEN
        cut := n;
    ELSE
        INSERT INTO falcon_changes (user_id, rev, id, seq)
            SELECT p_user, n, c.id, 0 FROM (SELECT DISTINCT u.id FROM unnest(p_ids) AS u(id)) c WHERE n IS NOT NULL
            UNION ALL SELECT p_user, n, 0, p_up_to WHERE n IS NOT NULL AND p_up_to > 0;
        SELECT c.rev INTO cut FROM falcon_changes c WHERE c.user_id = p_user ORDER BY c.rev DESC, c.id DESC OFFSET 256 LIMIT 1;
    END IF;
    IF cut IS NOT NULL THEN
        DELETE FROM falcon_changes c WHERE c.user_id = p_user AND c.rev <= cut;
    END IF;
    UPDATE falcon_inboxes i SET rev = n, rev_from = coalesce(cut, i.rev_from), total = i.total + p_total, unread = i.unread + p_unread,
        hidden_total = i.hidden_total + p_hidden_total, hidden_unread = i.hidden_unread + p_hidden_unread
        WHERE i.user_id = p_user;
    RETURN n;
END
$$;
REVOKE EXECUTE ON FUNCTION falcon_change FROM PUBLIC;
