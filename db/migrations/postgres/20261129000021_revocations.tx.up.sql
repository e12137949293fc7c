-- A revocation of a token is no longer needed once the token has expired. expires_at is the
-- token's exp, or 0 if the caller did not give one. Then, and for a revocation of a user, it is
-- no longer needed --max-token-life after it was stored.
ALTER TABLE falcon_revocations ADD COLUMN expires_at bigint NOT NULL DEFAULT 0;
DROP INDEX falcon_revocations_at;
CREATE INDEX falcon_revocations_page ON falcon_revocations (at, jti, user_id);
CREATE INDEX falcon_revocations_expiry ON falcon_revocations (expires_at) WHERE expires_at > 0;
CREATE INDEX falcon_revocations_age ON falcon_revocations (at) WHERE expires_at = 0;
