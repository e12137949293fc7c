package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// advanceSQLite is falcon_advance for one cursor, but for sessions that end.
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

const endSQLite = "DELETE FROM falcon_sessions WHERE user_id = ? AND client_id = ? AND generation = ?"

// Advance moves many cursors, and closes the sessions whose connection ended, see
// bridge.Sessions. On Postgres it is one statement, on SQLite prepared ones in one
// transaction.
func (d *DB) Advance(ctx context.Context, as []bridge.Advance) error {
	if len(as) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect == SQLite {
		return d.fail("advance cursors", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error { return advance(ctx, tx, as) }))
	}
	_, err := d.write.ExecContext(ctx, "SELECT falcon_advance(?, ?, ?, ?, ?, ?, ?, ?)", columns(len(as),
		func(i int) string { return string(as[i].Device.User) },
		func(i int) string { return as[i].Device.ClientID },
		func(i int) int64 { return as[i].Generation },
		func(i int) int64 { return int64(as[i].Acked) },
		func(i int) int64 { return int64(as[i].Sent) },
		func(i int) int64 { return int64(as[i].From) },
		func(i int) bool { return as[i].Closed },
		func(i int) int64 { return as[i].Expiry.Milliseconds() },
	)...)
	return d.fail("advance cursors", err)
}

func advance(ctx context.Context, tx bun.Tx, as []bridge.Advance) error {
	move, err := tx.PrepareContext(ctx, advanceSQLite)
	if err != nil {
		return err
	}
	defer func() { _ = move.Close() }()
	end, err := tx.PrepareContext(ctx, endSQLite)
	if err != nil {
		return err
	}
	defer func() { _ = end.Close() }()
	for _, a := range as {
		user, client := string(a.Device.User), a.Device.ClientID
		if a.Closed && a.Expiry == 0 {
			_, err = end.ExecContext(ctx, user, client, a.Generation)
		} else {
			_, err = move.ExecContext(ctx, user, client, a.Generation, int64(a.Acked), int64(a.Sent), int64(a.From),
				a.Closed, a.Expiry.Milliseconds())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// columns turns n rows into arrays for unnest, one a function of the row's number.
func columns(n int, of ...any) []any {
	out := make([]any, len(of))
	for i, f := range of {
		switch f := f.(type) {
		case func(int) string:
			out[i] = pgdialect.Array(column(n, f))
		case func(int) int64:
			out[i] = pgdialect.Array(column(n, f))
		case func(int) bool:
			out[i] = pgdialect.Array(column(n, f))
		}
	}
	return out
}

func column[T any](n int, f func(int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}
