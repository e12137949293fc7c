-- What waits for one device: the follower reads it by device, and read all that was ever
-- sent to the device with it.
CREATE INDEX falcon_late_due ON falcon_late (user_id, client_id, seq) WHERE state = 0 AND client_id <> '';
