package db

import (
	"context"
	"math"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Revoke stores r and removes the registrations that were made with the revoked tokens. If
// a user's tokens are revoked twice, the later time counts. If a single token is revoked
// twice, the later expiry counts, and a revocation without an expiry never expires.
func (d *DB) Revoke(ctx context.Context, r bridge.Revocation) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	row := revocation{Jti: r.ID, UserID: r.User}
	if r.User != "" {
		row.BeforeAt = millis(r.Before)
	}
	if !r.Expires.IsZero() {
		row.ExpiresAt = millis(r.Expires)
	}
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if d.dialect == Postgres { // see revokeLock
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", revokeLock); err != nil {
				return err
			}
		}
		_, err := tx.NewInsert().Model(&row).Value("at", "?", d.clock()).On("CONFLICT (jti, user_id) DO UPDATE").Set("at = excluded.at").
			Set("before_at = CASE WHEN excluded.before_at > v.before_at THEN excluded.before_at ELSE v.before_at END").
			Set("expires_at = CASE WHEN v.expires_at = 0 OR excluded.expires_at > 0 AND excluded.expires_at < v.expires_at " +
				"THEN v.expires_at ELSE excluded.expires_at END").Exec(ctx)
		if err != nil {
			return err
		}
		return d.unregisterRevoked(ctx, tx, r)
	})
	return d.fail("revoke", err)
}

// Revocations returns a page of revocations in the order in which they were stored. It reads a
// range of falcon_revocations_page.
func (d *DB) Revocations(ctx context.Context, after bridge.Revocation, limit int) ([]bridge.Revocation, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []revocation
	err := d.read.NewSelect().Model(&rows).Where("(v.at, v.jti, v.user_id) > (?, ?, ?)", millis(after.At), after.ID, after.User).
		Order("v.at", "v.jti", "v.user_id").Limit(int64(limit)).Scan(ctx)
	return domains(rows, (*revocation).domain), d.fail("read revocations", err)
}

// Revoked reports whether c is revoked, by its jti or by its user and time of issue. It looks
// up two rows of the primary key.
func (d *DB) Revoked(ctx context.Context, c bridge.Claims) (bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	found, err := isRevoked(ctx, d.read, c)
	return found, d.fail("look a revocation up", err)
}

func isRevoked(ctx context.Context, db bun.IDB, c bridge.Claims) (found bool, err error) {
	issued := int64(math.MinInt64) // a token without a time of issue counts as issued before any
	if !c.IssuedAt.IsZero() {
		issued = millis(c.IssuedAt)
	}
	err = db.NewRaw("SELECT EXISTS (SELECT 1 FROM falcon_revocations v WHERE v.jti = ? AND v.user_id = '') OR "+
		"EXISTS (SELECT 1 FROM falcon_revocations v WHERE v.jti = '' AND v.user_id = ? AND v.before_at > ?)", c.ID, c.User, issued).Scan(ctx, &found)
	return found, err
}

// ExpireRevocations removes at most limit revocations of tokens that have expired. It begins
// with revocations past the exp of their token (falcon_revocations_expiry). Then it removes
// revocations with an unknown exp that are older than life, the longest that a token may
// live (falcon_revocations_age). A life of 0 means that tokens may live for ever; then it
// removes none of the latter.
func (d *DB) ExpireRevocations(ctx context.Context, life time.Duration, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	grace := bridge.RevocationGrace.Milliseconds()
	n, err := d.remove(ctx, "jti, user_id", d.write.NewSelect().Model((*revocation)(nil)).
		Where("expires_at > 0").Where("expires_at <= ? - ?", d.clock(), grace).Order("expires_at"), limit)
	if err != nil || n == limit || life == 0 {
		return n, d.fail("expire revocations", err)
	}
	old, err := d.remove(ctx, "jti, user_id", d.write.NewSelect().Model((*revocation)(nil)).
		Where("expires_at = 0").Where("at <= ? - ?", d.clock(), grace+life.Milliseconds()).Order("at"), limit-n)
	return n + old, d.fail("expire revocations", err)
}

// domain converts r to the type of package bridge.
func (r *revocation) domain() bridge.Revocation {
	return bridge.Revocation{ID: r.Jti, User: r.UserID, Before: moment(r.BeforeAt), Expires: moment(r.ExpiresAt), At: moment(r.At)}
}
