DROP INDEX falcon_revocations_page;
DROP INDEX falcon_revocations_expiry;
DROP INDEX falcon_revocations_age;
CREATE INDEX falcon_revocations_at ON falcon_revocations (at);
ALTER TABLE falcon_revocations DROP COLUMN expires_at;
