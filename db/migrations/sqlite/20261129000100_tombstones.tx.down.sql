DROP TABLE falcon_tombstones;
DROP INDEX falcon_notifications_expiry;
DROP INDEX falcon_notifications_expired;
DROP INDEX falcon_notifications_replaces;
ALTER TABLE falcon_notifications DROP COLUMN expires_at;
ALTER TABLE falcon_notifications DROP COLUMN url;
ALTER TABLE falcon_notifications DROP COLUMN replaces;
ALTER TABLE falcon_notifications DROP COLUMN "by";
