ALTER TABLE falcon_inboxes DROP COLUMN erased_seq;
DROP TABLE falcon_tasks;
