-- What a notification may have besides its texts. The defaults mean none, so that nodes of the
-- previous release can go on appending.
ALTER TABLE falcon_notifications
    ADD COLUMN expires_at bigint NOT NULL DEFAULT 0,  -- 0: never
    ADD COLUMN url        text   NOT NULL DEFAULT '', -- '': none
    ADD COLUMN replaces   text   NOT NULL DEFAULT '', -- the key that it supersedes earlier ones under; '': none
    ADD COLUMN by         text   NOT NULL DEFAULT ''; -- the caller's sub, sql or import; '': not known

-- A tombstone is what is kept of a notification that was deleted, superseded, removed after its
-- expiry or removed by retention: nothing of its content. It is kept for 30 days, or until its
-- user is erased.
CREATE TABLE falcon_tombstones (
    id           bigint PRIMARY KEY, -- of the notification
    user_id      text COLLATE "C" NOT NULL,
    seq          bigint NOT NULL,
    kind         text   NOT NULL,
    why          text   NOT NULL,    -- deleted, superseded, expired, retained out
    at           bigint NOT NULL,
    committed_at bigint NOT NULL,    -- the notification's created_at
    by           text   NOT NULL
);
CREATE INDEX falcon_tombstones_age ON falcon_tombstones (at);
CREATE INDEX falcon_tombstones_user ON falcon_tombstones (user_id, seq);
