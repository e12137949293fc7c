package db

import (
	"context"
	"fmt"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Advance moves many cursors, and closes the sessions whose connection ended, see
// delivery.Sessions. On Postgres it is one call of falcon_advance, because the locks
// of many cursors must be taken in one order; on SQLite one transaction.
//
// A restore under a running node has the log end before what devices acknowledged. Were
// their cursors stored before the next epoch begins, they would stand behind notifications
// that were appended meanwhile and that no device has seen. So on Postgres the statement
// itself refuses another timeline or table than the last look found.
func (d *DB) Advance(ctx context.Context, as []bridge.Advance) error {
	if len(as) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect == SQLite {
		return d.fail("advance cursors", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error { return d.advance(ctx, tx, as) }))
	}
	condition, here := d.epoch.where()
	result, err := d.write.ExecContext(ctx, "SELECT falcon_advance(?, ?, ?, ?, ?, ?, ?, ?)"+condition, append([]any{
		array(as, func(a bridge.Advance) string { return string(a.Device.User) }),
		array(as, func(a bridge.Advance) string { return a.Device.ClientID }),
		array(as, func(a bridge.Advance) int64 { return a.Generation }),
		array(as, func(a bridge.Advance) int64 { return int64(a.Acked) }),
		array(as, func(a bridge.Advance) int64 { return int64(a.Sent) }),
		array(as, func(a bridge.Advance) int64 { return int64(a.From) }),
		array(as, func(a bridge.Advance) bool { return a.Closed }),
		array(as, func(a bridge.Advance) int64 { return a.Expiry.Milliseconds() }),
	}, here...)...)
	if err != nil {
		return d.fail("advance cursors", err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		d.epoch.look()
		return fmt.Errorf("advance cursors: %w", errRestored)
	}
	return nil
}

// move is a cursor that advances, for SQLite: a row of a common table expression.
type move struct {
	bun.BaseModel `bun:"table:moves,alias:m"`

	UserID     bridge.UserID
	ClientID   string
	Generation int64
	Acked      bridge.Seq
	Sent       bridge.Seq
	Leap       bridge.Seq
	Closed     bool
	Expiry     int64
}

// moves are as with one row a session's generation: the furthest of each value.
func moves(as []bridge.Advance) (moved, ended []move) {
	by := make(map[bridge.Device]map[int64]*move, len(as))
	var order []*move
	for _, a := range as {
		m := by[a.Device][a.Generation]
		if m == nil {
			m = &move{UserID: a.Device.User, ClientID: a.Device.ClientID, Generation: a.Generation}
			if by[a.Device] == nil {
				by[a.Device] = make(map[int64]*move, 1)
			}
			by[a.Device][a.Generation] = m
			order = append(order, m)
		}
		m.Acked, m.Sent, m.Leap = max(m.Acked, a.Acked), max(m.Sent, a.Sent), max(m.Leap, a.From)
		m.Closed, m.Expiry = m.Closed || a.Closed, max(m.Expiry, a.Expiry.Milliseconds())
	}
	for _, m := range order {
		if m.Closed && m.Expiry == 0 {
			ended = append(ended, *m)
		} else {
			moved = append(moved, *m)
		}
	}
	return moved, ended
}

// advance is falcon_advance for SQLite, also for connections of a former epoch: one statement for the cursors that move and
// one for the sessions that end. A statement each would parse them all while other
// writers wait.
func (d *DB) advance(ctx context.Context, tx bun.Tx, as []bridge.Advance) error {
	moved, ended := moves(as)
	floor, err := d.generationFloor(ctx, tx)
	if err != nil {
		return err
	}
	for i := range moved {
		if m := &moved[i]; m.Generation <= floor {
			m.Acked, m.Leap, m.Sent = 0, 0, -1 // its cursor counts in a log that is gone
		}
	}
	if len(moved) > 0 {
		a := tx.NewSelect().TableExpr("moves AS m").ColumnExpr("m.*").ColumnExpr("coalesce(i.last_seq, 0) AS last").
			ColumnExpr("? AS at", d.clock()).Join("LEFT JOIN falcon_inboxes AS i ON i.user_id = m.user_id")
		_, err := tx.NewUpdate().With("moves", tx.NewValues(&moved)).Model((*session)(nil)).TableExpr("(?) AS a", a).
			Set("from_seq = CASE WHEN a.leap > s.acked_seq THEN max(s.from_seq, min(a.leap, a.last)) ELSE s.from_seq END").
			Set("acked_seq = max(s.acked_seq, min(a.acked, a.last))").
			Set("sent_seq = CASE WHEN a.closed THEN min(a.sent, a.last) ELSE s.sent_seq END").
			Set("node = CASE WHEN a.closed THEN '' ELSE s.node END").
			Set("expiry_ms = CASE WHEN a.closed THEN a.expiry ELSE s.expiry_ms END").
			Set("expires_at = CASE WHEN a.closed THEN a.at + a.expiry ELSE s.expires_at END").
			Set("used_at = CASE WHEN a.closed THEN a.at ELSE s.used_at END").
			Where("s.user_id = a.user_id AND s.client_id = a.client_id AND s.generation = a.generation").
			Where("a.closed OR a.leap > s.acked_seq OR a.acked > s.acked_seq").Exec(ctx)
		if err != nil {
			return err
		}
	}
	if len(ended) > 0 {
		_, err := tx.NewDelete().With("moves", tx.NewValues(&ended)).Model((*session)(nil)).
			Where("(user_id, client_id, generation) IN (SELECT user_id, client_id, generation FROM moves)").Exec(ctx)
		return err
	}
	return nil
}
