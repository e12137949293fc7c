DROP TABLE falcon_tombstones;
ALTER TABLE falcon_notifications DROP COLUMN expires_at, DROP COLUMN url, DROP COLUMN replaces, DROP COLUMN by;
