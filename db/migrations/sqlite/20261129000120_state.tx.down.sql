DROP TABLE falcon_steps;
DROP TABLE falcon_changes;
ALTER TABLE falcon_notifications DROP COLUMN hidden;
ALTER TABLE falcon_inboxes DROP COLUMN rev;
ALTER TABLE falcon_inboxes DROP COLUMN rev_from;
ALTER TABLE falcon_inboxes DROP COLUMN kinds;
ALTER TABLE falcon_inboxes DROP COLUMN hidden_total;
ALTER TABLE falcon_inboxes DROP COLUMN hidden_unread;
