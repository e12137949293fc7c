-- For notifications that no device acknowledges in time, see db/late.go. The tables are empty
-- unless Web Push or webhooks are on.

-- The Web Push subscriptions of devices.
CREATE TABLE falcon_registrations (
    user_id       text COLLATE "C" NOT NULL,
    client_id     text COLLATE "C" NOT NULL,
    endpoint      text   NOT NULL,
    endpoint_hash text   NOT NULL, -- SHA-256 in hex: endpoints may be longer than an index takes
    p256dh        text   NOT NULL,
    auth          text   NOT NULL,
    jti           text COLLATE "C" NOT NULL DEFAULT '', -- of the token that made it; '': it had none
    iat           bigint NOT NULL DEFAULT 0,            -- 0: it had none
    used_at       bigint NOT NULL,
    PRIMARY KEY (user_id, client_id),
    UNIQUE (endpoint_hash)
);
CREATE INDEX falcon_registrations_jti ON falcon_registrations (jti) WHERE jti <> '';
CREATE INDEX falcon_registrations_age ON falcon_registrations (used_at);

-- Which node does the work that only one node may do, and its position in it.
CREATE TABLE falcon_leases (
    name       text   PRIMARY KEY,
    node       text   NOT NULL, -- '': none
    held_until bigint NOT NULL,
    state      text   NOT NULL
);

-- An attempt: one row for each notification and device, and one for each notification and
-- condition of the webhooks.
CREATE TABLE falcon_late (
    ref             text COLLATE "C" PRIMARY KEY, -- random; a webhook's id is made of it
    rule            text COLLATE "C" NOT NULL,    -- push, or a condition
    user_id         text COLLATE "C" NOT NULL,
    client_id       text COLLATE "C" NOT NULL,    -- '': a webhook
    notification_id bigint   NOT NULL,
    seq             bigint   NOT NULL,
    since           bigint   NOT NULL,            -- when it was late first
    due_at          bigint   NOT NULL,            -- of the next attempt
    tries           int      NOT NULL DEFAULT 0,
    state           smallint NOT NULL DEFAULT 0,  -- 0: waiting, 1: sent, 2: given up
    forced          boolean  NOT NULL DEFAULT false, -- asked for again: sent although it was acknowledged or read
    status          int      NOT NULL DEFAULT 0,  -- HTTP status of the last attempt; 0: no response
    done_at         bigint   NOT NULL DEFAULT 0,
    UNIQUE (notification_id, client_id, rule)
) WITH (fillfactor = 80);
CREATE INDEX falcon_late_push ON falcon_late (due_at) WHERE state = 0 AND client_id <> '';
CREATE INDEX falcon_late_webhook ON falcon_late (due_at) WHERE state = 0 AND client_id = '';
CREATE INDEX falcon_late_user ON falcon_late (user_id, client_id);
CREATE INDEX falcon_late_done ON falcon_late (done_at) WHERE state > 0;

-- What each connection acknowledged, including those without a session: the seqs above from_seq
-- up to acked_seq.
CREATE TABLE falcon_acks (
    user_id    text COLLATE "C" NOT NULL,
    client_id  text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    from_seq   bigint NOT NULL,
    acked_seq  bigint NOT NULL,
    at         bigint NOT NULL,
    PRIMARY KEY (user_id, client_id, generation)
) WITH (fillfactor = 70);
CREATE INDEX falcon_acks_age ON falcon_acks (at);
