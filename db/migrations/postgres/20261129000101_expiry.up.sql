-- Built while appends go on, so in no transaction: a build that was interrupted leaves
-- an invalid index, which is dropped first. All are partial: an append that neither
-- expires nor replaces anything enters none.

-- What expires next, over all users: the sweep.
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_expiry;
--bun:split
CREATE INDEX CONCURRENTLY falcon_notifications_expiry ON falcon_notifications (expires_at, id) WHERE expires_at > 0;
--bun:split
-- What has expired of one user's and was not swept yet: counts.
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_expired;
--bun:split
CREATE INDEX CONCURRENTLY falcon_notifications_expired ON falcon_notifications (user_id, expires_at) WHERE expires_at > 0;
--bun:split
-- What a key stands for: at most one row.
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_replaces;
--bun:split
CREATE INDEX CONCURRENTLY falcon_notifications_replaces ON falcon_notifications (user_id, replaces) WHERE replaces <> '';
