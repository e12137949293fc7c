package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// advanceSQLite is falcon_advance for one cursor, but for sessions that end. It is
// one statement, so that the hot write of SQLite reads no row it does not change.
const advanceSQLite = `
UPDATE falcon_sessions AS s SET
	from_seq = CASE WHEN a.leap > s.acked_seq THEN max(s.from_seq, min(a.leap, a.last)) ELSE s.from_seq END,
	acked_seq = max(s.acked_seq, min(a.acked, a.last)),
	sent_seq = CASE WHEN a.closed THEN min(a.sent, a.last) ELSE s.sent_seq END,
	node = CASE WHEN a.closed THEN '' ELSE s.node END,
	expiry_ms = CASE WHEN a.closed THEN a.expiry ELSE s.expiry_ms END,
	expires_at = CASE WHEN a.closed THEN a.at + a.expiry ELSE s.expires_at END,
	used_at = CASE WHEN a.closed THEN a.at ELSE s.used_at END
FROM (SELECT a.*, (SELECT coalesce(max(i.last_seq), 0) FROM falcon_inboxes i WHERE i.user_id = a.u) AS last,
	CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS at
	FROM (SELECT ? AS u, ? AS c, ? AS g, ? AS acked, ? AS sent, ? AS leap, ? AS closed, ? AS expiry) a) a
WHERE s.user_id = a.u AND s.client_id = a.c AND s.generation = a.g`

// Advance moves many cursors, and closes the sessions whose connection ended, see
// bridge.Sessions. On Postgres it is one call of falcon_advance, because the locks
// of many cursors must be taken in one order; on SQLite one transaction.
func (d *DB) Advance(ctx context.Context, as []bridge.Advance) error {
	if len(as) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect == SQLite {
		return d.fail("advance cursors", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error { return advance(ctx, tx, as) }))
	}
	_, err := d.write.ExecContext(ctx, "SELECT falcon_advance(?, ?, ?, ?, ?, ?, ?, ?)",
		array(as, func(a bridge.Advance) string { return string(a.Device.User) }),
		array(as, func(a bridge.Advance) string { return a.Device.ClientID }),
		array(as, func(a bridge.Advance) int64 { return a.Generation }),
		array(as, func(a bridge.Advance) int64 { return int64(a.Acked) }),
		array(as, func(a bridge.Advance) int64 { return int64(a.Sent) }),
		array(as, func(a bridge.Advance) int64 { return int64(a.From) }),
		array(as, func(a bridge.Advance) bool { return a.Closed }),
		array(as, func(a bridge.Advance) int64 { return a.Expiry.Milliseconds() }))
	return d.fail("advance cursors", err)
}

// advance is falcon_advance for SQLite.
func advance(ctx context.Context, tx bun.Tx, as []bridge.Advance) (err error) {
	for _, a := range as {
		s := session{UserID: a.Device.User, ClientID: a.Device.ClientID}
		if a.Closed && a.Expiry == 0 {
			_, err = tx.NewDelete().Model(&s).WherePK().Where("generation = ?", a.Generation).Exec(ctx)
		} else {
			_, err = tx.ExecContext(ctx, advanceSQLite, a.Device.User, a.Device.ClientID, a.Generation, a.Acked, a.Sent, a.From,
				a.Closed, a.Expiry.Milliseconds())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
