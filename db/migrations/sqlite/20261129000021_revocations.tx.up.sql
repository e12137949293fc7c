-- When a revocation is no longer needed, see the Postgres migration.
ALTER TABLE falcon_revocations ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;
DROP INDEX falcon_revocations_at;
CREATE INDEX falcon_revocations_page ON falcon_revocations (at, jti, user_id);
CREATE INDEX falcon_revocations_expiry ON falcon_revocations (expires_at) WHERE expires_at > 0;
CREATE INDEX falcon_revocations_age ON falcon_revocations (at) WHERE expires_at = 0;
