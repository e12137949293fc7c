package db

import (
	"context"
	"database/sql"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
)

// The delivery side reads ranges of the unique index (user_id, seq). A mute is
// looked up once a statement, in its snapshot: after the commit of a mute nothing
// is returned.
const (
	listed = "(SELECT i.review_enabled FROM falcon_inboxes i WHERE i.user_id = ?)"

	queryAfter = "SELECT " + notificationColumns + " FROM falcon_notifications n " +
		"WHERE n.user_id = ? AND n.seq > ? AND NOT n.muted AND " + listed + " ORDER BY n.seq LIMIT ?"
	queryHead = "SELECT i.last_seq, " + pageColumns + " FROM falcon_inboxes i " +
		"LEFT JOIN falcon_notifications n ON i.review_enabled AND n.user_id = i.user_id " +
		"AND n.seq = (SELECT max(l.seq) FROM falcon_notifications l WHERE l.user_id = i.user_id) WHERE i.user_id = ?"
	querySkip = "SELECT n.seq FROM falcon_notifications n " +
		"WHERE n.user_id = ? AND n.seq > ? AND NOT n.muted AND " + listed + " ORDER BY n.seq DESC LIMIT 1 OFFSET ?"
)

// After implements bridge.Log.
func (d *DB) After(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	rows, err := d.rows(ctx, queryAfter, string(u), int64(after), string(u), limit)
	if err != nil {
		return nil, d.fail("read the log", err)
	}
	out, err := collect(rows)
	return out, d.fail("read the log", err)
}

// collect reads rows of notificationColumns and closes them.
func collect(rows *sql.Rows) (out []bridge.Notification, err error) {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		n, err := scanNotification(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// Head implements bridge.Log. The retained message is the user's latest row,
// also where it was appended muted: unmuted, everything is listed again.
func (d *DB) Head(ctx context.Context, u bridge.UserID) (bridge.Head, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	head, err := scanHead(d.row(ctx, queryHead, string(u)))
	if errors.Is(err, sql.ErrNoRows) {
		return bridge.Head{}, nil
	}
	return head, d.fail("read the head", err)
}

// Skip implements bridge.Log. Its OFFSET is at most the replay cap, within one
// index range: it is the row before the newest limit ones that is asked for.
func (d *DB) Skip(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) (bridge.Seq, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var s bridge.Seq
	err := d.row(ctx, querySkip, string(u), int64(after), string(u), limit).Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		return after, nil
	}
	return s, d.fail("find where a replay starts", err)
}
