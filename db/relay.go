package db

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// relayLife is how long a relay may be away and find its place again; the
// triggers of the relay's migration note mutes and deletes for as long.
const relayLife = 7 * 24 * time.Hour

// LeaseRelay implements bridge.RelayStore.
func (d *DB) LeaseRelay(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		// What lapsed too long ago is void: mutes and deletes were not noted.
		if _, err := tx.ExecContext(ctx, "DELETE FROM falcon_touched WHERE EXISTS (SELECT 1 FROM falcon_relay WHERE held_until <= "+
			d.clock()+" - ?)", relayLife.Milliseconds()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM falcon_relay WHERE held_until <= "+d.clock()+" - ?", relayLife.Milliseconds()); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "INSERT INTO falcon_relay AS r (id, node, held_until, state) VALUES (1, ?, "+d.clock()+" + ?, '') "+
			"ON CONFLICT (id) DO UPDATE SET node = excluded.node, held_until = excluded.held_until "+
			"WHERE r.node IN ('', excluded.node) OR r.held_until <= "+d.clock()+" RETURNING state",
			node, ttl.Milliseconds()).Scan(&state)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return state, err == nil, d.fail("take the relay's lease", err)
}

// SaveRelay implements bridge.RelayStore.
func (d *DB) SaveRelay(ctx context.Context, node, state string, ttl time.Duration) (held bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	res, err := d.write.ExecContext(ctx, "UPDATE falcon_relay SET state = ?, held_until = "+d.clock()+" + ? WHERE node = ?",
		state, ttl.Milliseconds(), node)
	if err != nil {
		return false, d.fail("save the relay's place", err)
	}
	n, err := res.RowsAffected()
	return n > 0, d.fail("save the relay's place", err)
}

// ReleaseRelay implements bridge.RelayStore.
func (d *DB) ReleaseRelay(ctx context.Context, node string) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	_, err := d.write.ExecContext(ctx, "UPDATE falcon_relay SET node = '' WHERE node = ?", node)
	return d.fail("release the relay's lease", err)
}

const (
	touchedPostgres = "SELECT t.user_id, t.id, t.xid::text FROM falcon_touched t " +
		"WHERE (t.xid, t.id) > (?::xid8, ?) AND t.xid < ?::xid8 ORDER BY t.xid, t.id LIMIT ?"
	touchedSQLite = "SELECT t.user_id, t.id, '0' FROM falcon_touched t WHERE t.id > ? ORDER BY t.id LIMIT ?"
	forgetTouched = "DELETE FROM falcon_touched WHERE (xid, id) <= (?::xid8, ?)"
)

// Touched implements bridge.RelayStore. What lies at or before p is removed: the
// relay has stored that it followed it.
func (d *DB) Touched(ctx context.Context, p bridge.Position, limit int) ([]bridge.UserID, bridge.Position, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	from, ok, err := d.position(p)
	if err != nil {
		return nil, p, err
	}
	if !ok {
		from = position{}
	}
	query, args := touchedSQLite, []any{from.id, limit}
	if d.dialect == Postgres {
		end, err := d.horizon(ctx)
		if err != nil {
			return nil, p, d.fail("read mutes and deletes", err)
		}
		query, args = touchedPostgres, []any{xid8(from.xid), from.id, xid8(end.xid), limit}
	}
	users, last, err := d.touched(ctx, query, args)
	if err != nil {
		return nil, p, d.fail("read mutes and deletes", err)
	}
	if len(users) == 0 {
		return nil, p, nil
	}
	if err := d.forget(ctx, from); err != nil {
		return nil, p, d.fail("forget what the relay followed", err)
	}
	return users, d.opaque(last), nil
}

func (d *DB) touched(ctx context.Context, query string, args []any) (users []bridge.UserID, last position, err error) {
	rows, err := d.rows(ctx, query, args...)
	if err != nil {
		return nil, last, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var u bridge.UserID
		var xid string
		if err := rows.Scan(&u, &last.id, &xid); err != nil {
			return nil, last, err
		}
		if last.xid, err = strconv.ParseUint(xid, 10, 64); err != nil {
			return nil, last, err
		}
		users = append(users, u)
	}
	return users, last, rows.Err()
}

func (d *DB) forget(ctx context.Context, upTo position) error {
	if d.dialect == Postgres {
		_, err := d.write.ExecContext(ctx, forgetTouched, xid8(upTo.xid), upTo.id)
		return err
	}
	_, err := d.write.ExecContext(ctx, "DELETE FROM falcon_touched WHERE id <= ?", upTo.id)
	return err
}

// These walk the users' rows down from the newest, past those that lie after the
// position, which are few.
const (
	latestAtPostgres = "SELECT " + notificationColumns + " FROM falcon_inboxes i CROSS JOIN LATERAL " +
		"(SELECT l.* FROM falcon_notifications l WHERE l.user_id = i.user_id AND (l.xid, l.id) <= (?::xid8, ?) ORDER BY l.seq DESC LIMIT 1) n " +
		"WHERE i.user_id IN (?) AND i.review_enabled"
	latestAtSQLite = "SELECT " + notificationColumns + " FROM falcon_inboxes i JOIN falcon_notifications n ON n.user_id = i.user_id " +
		"AND n.seq = (SELECT l.seq FROM falcon_notifications l WHERE l.user_id = i.user_id AND l.id <= ? ORDER BY l.seq DESC LIMIT 1) " +
		"WHERE i.user_id IN (?) AND i.review_enabled"
)

// LatestAt implements bridge.RelayStore. A position of another epoch counts as "",
// as it does in Since.
func (d *DB) LatestAt(ctx context.Context, users []bridge.UserID, p bridge.Position) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	at, ok, err := d.position(p)
	if err != nil || !ok || len(users) == 0 {
		return nil, err
	}
	query, args := latestAtSQLite, []any{at.id}
	if d.dialect == Postgres {
		query, args = latestAtPostgres, []any{xid8(at.xid), at.id}
	}
	rows, err := d.read.QueryContext(ctx, query, append(args, bun.List(users))...)
	if err != nil {
		return nil, d.fail("read what is retained", err)
	}
	out, err := collect(rows)
	return out, d.fail("read what is retained", err)
}
