-- What waits for one device: the follower reads it by device, and read all that was ever
-- sent to the device with it. Built while it goes on, so in no transaction: a build that was
-- interrupted leaves an invalid index, which is dropped first.
DROP INDEX CONCURRENTLY IF EXISTS falcon_late_due;
--bun:split
CREATE INDEX CONCURRENTLY falcon_late_due ON falcon_late (user_id, client_id, seq) WHERE state = 0 AND client_id <> '';
