DROP FUNCTION falcon_change;
DROP TABLE falcon_steps;
DROP TABLE falcon_changes;
ALTER TABLE falcon_notifications DROP COLUMN hidden;
ALTER TABLE falcon_inboxes DROP COLUMN rev, DROP COLUMN rev_from, DROP COLUMN kinds, DROP COLUMN hidden_total, DROP COLUMN hidden_unread;
