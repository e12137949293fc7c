DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_expiry;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_expired;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS falcon_notifications_replaces;
