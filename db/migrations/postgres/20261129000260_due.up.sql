-- For the unsent attempts of a device. Without this index the follower, which reads them by
-- device, also read everything that was ever sent to it. The index is built without blocking
-- the follower, which is not possible in a transaction. An interrupted build leaves an invalid
-- index, which is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS falcon_late_due;
--bun:split
CREATE INDEX CONCURRENTLY falcon_late_due ON falcon_late (user_id, client_id, seq) WHERE state = 0 AND client_id <> '';
