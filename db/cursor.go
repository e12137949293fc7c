package db

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// Advance moves many cursors, and closes the sessions whose connections ended, see
// delivery.Sessions.
//
// On Postgres it is one call of falcon_advance, whose current text is in the migration
// 20261129000220_history. The function locks the sessions in one order, so that two nodes
// never deadlock. If you replace it, also change the method advance, which does the same
// for SQLite.
//
// When a database is restored under a running node, the log may end before what devices
// have acknowledged. If their cursors were stored before the new epoch begins, they would
// lie past notifications that were appended meanwhile and that no device has seen. So on
// Postgres the statement itself does nothing if the timeline or the table is not the one
// of the last check.
func (d *DB) Advance(ctx context.Context, advances []bridge.Advance) error {
	if len(advances) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if d.dialect == SQLite {
		return d.fail("advance cursors", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error { return d.advance(ctx, tx, advances) }))
	}
	notRestored, args := d.epoch.notRestored()
	result, err := d.write.ExecContext(ctx, "SELECT falcon_advance(?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE "+notRestored, append([]any{
		array(advances, func(a bridge.Advance) string { return string(a.Device.User) }),
		array(advances, func(a bridge.Advance) string { return a.Device.ClientID }),
		array(advances, func(a bridge.Advance) int64 { return a.Generation }),
		array(advances, func(a bridge.Advance) int64 { return int64(a.Acked) }),
		array(advances, func(a bridge.Advance) int64 { return int64(a.Sent) }),
		array(advances, func(a bridge.Advance) int64 { return int64(a.From) }),
		array(advances, func(a bridge.Advance) bool { return a.Closed }),
		array(advances, func(a bridge.Advance) int64 { return a.Expiry.Milliseconds() }),
		array(advances, func(a bridge.Advance) string { return hex.EncodeToString(encodeSkips(a.Skipped)) }),
	}, args...)...)
	if err != nil {
		return d.fail("advance cursors", err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		d.epoch.checkSoon()
		return fmt.Errorf("advance cursors: %w", errRestored)
	}
	return nil
}

// move is how one cursor advances, as a row of a common table expression on SQLite.
type move struct {
	bun.BaseModel `bun:"table:moves,alias:m"`

	UserID     bridge.UserID
	ClientID   string
	Generation int64
	Acked      bridge.Seq
	Sent       bridge.Seq
	Leap       bridge.Seq
	Passed     []byte // see encodeSkips
	Closed     bool
	Expiry     int64
}

// moves merges as into one move per session and generation, with the highest of each
// value. ended are those whose session ends with its connection.
func moves(advances []bridge.Advance) (moved, ended []move) {
	merged := make(map[bridge.Device]map[int64]*move, len(advances))
	var order []*move
	for _, a := range advances {
		m := merged[a.Device][a.Generation]
		if m == nil {
			m = &move{UserID: a.Device.User, ClientID: a.Device.ClientID, Generation: a.Generation}
			if merged[a.Device] == nil {
				merged[a.Device] = make(map[int64]*move, 1)
			}
			merged[a.Device][a.Generation] = m
			order = append(order, m)
		}
		m.Acked, m.Sent, m.Leap = max(m.Acked, a.Acked), max(m.Sent, a.Sent), max(m.Leap, a.From)
		m.Closed, m.Expiry = m.Closed || a.Closed, max(m.Expiry, a.Expiry.Milliseconds())
		m.Passed = append(m.Passed, encodeSkips(a.Skipped)...)
	}
	for _, m := range order {
		moved = append(moved, *m)
		if m.Closed && m.Expiry == 0 {
			ended = append(ended, *m)
		}
	}
	return moved, ended
}

// advance does for SQLite what falcon_advance does for Postgres: one statement for all
// cursors that move and one for all sessions that end. One statement per cursor would keep
// other writers waiting while each is parsed. Of a connection of a former epoch only the
// end counts.
func (d *DB) advance(ctx context.Context, tx bun.Tx, advances []bridge.Advance) error {
	moved, ended := moves(advances)
	floor, err := d.generationFloor(ctx, tx)
	if err != nil {
		return err
	}
	for i := range moved {
		if m := &moved[i]; m.Generation <= floor {
			m.Acked, m.Leap, m.Sent = 0, 0, -1 // its seqs belong to the log before the restore
		}
	}
	if err := d.keepSkips(ctx, tx, moved); err != nil {
		return err
	}
	a := tx.NewSelect().TableExpr("moves AS m").Column("m.user_id", "m.client_id", "m.generation", "m.closed", "m.expiry").
		ColumnExpr("min(m.acked, coalesce(i.last_seq, 0)) AS acked").ColumnExpr("min(m.sent, coalesce(i.last_seq, 0)) AS sent").
		ColumnExpr("min(m.leap, coalesce(i.last_seq, 0)) AS leap").ColumnExpr("? AS at", d.clock()).
		Join("LEFT JOIN falcon_inboxes AS i ON i.user_id = m.user_id")
	_, err = tx.NewUpdate().With("moves", tx.NewValues(&moved)).Model((*session)(nil)).TableExpr("(?) AS a", a).
		Set("from_seq = CASE WHEN a.leap > s.acked_seq THEN max(s.from_seq, a.leap) ELSE s.from_seq END").
		Set("acked_seq = max(s.acked_seq, a.acked)").
		Set("recent = CASE WHEN a.acked <= s.acked_seq THEN s.recent ELSE substr(CAST(s.recent || "+
			"CASE WHEN hex(substr(s.recent, -16, 8)) = printf('%016X', s.acked_seq) THEN '' ELSE "+
			"unhex(printf('%016X%016X', s.acked_seq, CASE WHEN s.from_seq = s.acked_seq THEN 0 ELSE -a.at END)) END || "+
			"unhex(printf('%016X%016X', a.acked, a.at)) AS BLOB), ?) END", -advanceSize*maxAdvances).
		Set("written_seq = CASE WHEN a.closed OR a.sent <= a.acked THEN s.written_seq ELSE max(s.written_seq, a.sent) END").
		Set("written_at = CASE WHEN NOT a.closed AND a.sent > a.acked AND a.sent > s.written_seq THEN a.at ELSE s.written_at END").
		Set("sent_seq = CASE WHEN a.closed THEN a.sent ELSE s.sent_seq END").
		Set("node = CASE WHEN a.closed THEN '' ELSE s.node END").
		Set("expiry_ms = CASE WHEN a.closed THEN a.expiry ELSE s.expiry_ms END").
		Set("expires_at = CASE WHEN a.closed THEN a.at + a.expiry ELSE s.expires_at END").
		Set("used_at = CASE WHEN a.closed THEN a.at ELSE s.used_at END").
		Where("s.user_id = a.user_id AND s.client_id = a.client_id AND s.generation = a.generation").
		Where("a.closed OR a.leap > s.acked_seq OR a.acked > s.acked_seq OR a.sent > a.acked AND a.sent > s.written_seq").Exec(ctx)
	if err != nil || len(ended) == 0 {
		return err
	}
	_, err = tx.NewDelete().With("moves", tx.NewValues(&ended)).Model((*session)(nil)).
		Where("(user_id, client_id, generation) IN (SELECT user_id, client_id, generation FROM moves)").Exec(ctx)
	return err
}

// keepSkips adds to the sessions' histories what the moves pass without an
// acknowledgement. Few moves do, so this is a separate statement.
func (d *DB) keepSkips(ctx context.Context, tx bun.Tx, moves []move) error {
	var skipping []move
	for i := range moves {
		if m := &moves[i]; m.Leap > 0 || len(m.Passed) > 0 {
			skipping = append(skipping, *m)
		}
	}
	if len(skipping) == 0 {
		return nil
	}
	var found []struct {
		move `bun:",extend"`

		AckedSeq bridge.Seq
		Last     bridge.Seq
		At       int64
	}
	if err := tx.NewSelect().With("moves", tx.NewValues(&skipping)).TableExpr("moves AS m").ColumnExpr("m.*, s.acked_seq").
		ColumnExpr("coalesce(i.last_seq, 0) AS last").ColumnExpr("? AS at", d.clock()).
		Join("JOIN falcon_sessions AS s ON s.user_id = m.user_id AND s.client_id = m.client_id AND s.generation = m.generation").
		Join("LEFT JOIN falcon_inboxes AS i ON i.user_id = m.user_id").Scan(ctx, &found); err != nil {
		return err
	}
	var rows []history
	for i := range found {
		f := &found[i]
		if min(f.Acked, f.Last) <= f.AckedSeq {
			continue
		}
		if skips := stampSkips(f.AckedSeq, min(f.Leap, f.Last), f.Passed, f.At); len(skips) > 0 {
			rows = append(rows, history{UserID: f.UserID, ClientID: f.ClientID, Advances: []byte{}, Skips: skips})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.NewInsert().Model(&rows).On("CONFLICT (user_id, client_id) DO UPDATE").
		Set("skips = substr(CAST(h.skips || excluded.skips AS BLOB), ?)", -skipSize*bridge.MaxSkips).Exec(ctx)
	return err
}
