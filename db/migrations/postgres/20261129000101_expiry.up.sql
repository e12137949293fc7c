-- The indexes are built without blocking appends, which is not possible in a transaction. An
-- interrupted build leaves an invalid index, which is dropped first. All are partial, so a
-- notification that neither expires nor has a key is in none of them.

-- For removing expired notifications of all users.
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_expiry;
--bun:split
CREATE INDEX CONCURRENTLY falcon_notifications_expiry ON falcon_notifications (expires_at, id) WHERE expires_at > 0;
--bun:split
-- For the counts of a user, without notifications that have expired but are not removed yet.
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_expired;
--bun:split
CREATE INDEX CONCURRENTLY falcon_notifications_expired ON falcon_notifications (user_id, expires_at) WHERE expires_at > 0;
--bun:split
-- For the notification of a key, of which there is at most one.
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_replaces;
--bun:split
CREATE INDEX CONCURRENTLY falcon_notifications_replaces ON falcon_notifications (user_id, replaces) WHERE replaces <> '';
