-- For the unsent attempts of a device. Without this index the follower, which reads them by
-- device, also read everything that was ever sent to it.
CREATE INDEX falcon_late_due ON falcon_late (user_id, client_id, seq) WHERE state = 0 AND client_id <> '';
