package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

// relayLife is how long a relay may be stopped and still continue at its position. The
// triggers of the relay's migration record mutes and deletes for that long.
const relayLife = 7 * 24 * time.Hour

// LeaseRelay implements relay.Store.
func (d *DB) LeaseRelay(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		// A position whose lease lapsed too long ago is void, because mutes and deletes were
		// not recorded since.
		lapsed := tx.NewSelect().Model((*relay)(nil)).Column("id").Where("held_until <= ? - ?", d.clock(), relayLife.Milliseconds())
		if _, err := tx.NewDelete().Model((*touched)(nil)).Where("EXISTS (?)", lapsed).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*relay)(nil)).Where("id IN (?)", lapsed).Exec(ctx); err != nil {
			return err
		}
		return tx.NewInsert().Model(&relay{ID: 1, Node: node}).Value("held_until", "? + ?", d.clock(), ttl.Milliseconds()).
			On("CONFLICT (id) DO UPDATE").Set("node = excluded.node").Set("held_until = excluded.held_until").
			Where("r.node IN ('', excluded.node) OR r.held_until <= ?", d.clock()).Returning("state").Scan(ctx, &state)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return state, err == nil, d.fail("acquire the relay's lease", err)
}

// SaveRelay implements relay.Store. The lease counts as lost if the database was restored
// since the last check of the epoch, because a position in the former log may lie past new
// rows.
func (d *DB) SaveRelay(ctx context.Context, node, state string, ttl time.Duration) (held bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	notRestored, args := d.epoch.notRestored()
	n, err := affected(d.write.NewUpdate().Model((*relay)(nil)).Set("state = ?", state).
		Set("held_until = ? + ?", d.clock(), ttl.Milliseconds()).Where("node = ?", node).Where(notRestored, args...).Exec(ctx))
	return n > 0, d.fail("save the relay's position", err)
}

// ReleaseRelay implements relay.Store.
func (d *DB) ReleaseRelay(ctx context.Context, node string) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	_, err := d.write.NewUpdate().Model((*relay)(nil)).Set("node = ''").Where("node = ?", node).Exec(ctx)
	return d.fail("release the relay's lease", err)
}

// Touched implements relay.Store. It removes the rows up to p, since p is a position that the
// relay has stored.
func (d *DB) Touched(ctx context.Context, p bridge.Position, limit int) ([]bridge.UserID, bridge.Position, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	from, err := d.position(p)
	if err != nil {
		return nil, p, err
	}
	var rows []touched
	find := d.read.NewSelect().Model(&rows).Limit(int64(limit))
	forget := d.write.NewDelete().Model((*touched)(nil))
	if d.dialect == Postgres {
		end, err := d.horizon(ctx)
		if err != nil {
			return nil, p, d.fail("read mutes and deletes", err)
		}
		find.ColumnExpr("?TableColumns, t.xid").Where("(t.xid, t.id) > (?::xid8, ?)", xid8(from.xid), from.id).
			Where("t.xid < ?::xid8", xid8(end.xid)).Order("t.xid", "t.id")
		forget.Where("(xid, id) <= (?::xid8, ?)", xid8(from.xid), from.id)
	} else {
		find.Where("t.id > ?", from.id).Order("t.id")
		forget.Where("id <= ?", from.id)
	}
	if err := find.Scan(ctx); err != nil {
		return nil, p, d.fail("read mutes and deletes", err)
	}
	if len(rows) == 0 {
		return nil, p, nil
	}
	if _, err := forget.Exec(ctx); err != nil {
		return nil, p, d.fail("remove followed mutes and deletes", err)
	}
	last := rows[len(rows)-1]
	users := domains(rows, func(t *touched) bridge.UserID { return t.UserID })
	return users, d.opaque(position{last.Xid, last.ID}), nil
}

// latestAtQuery selects each user's newest row that is not after the position. It reads the
// user's rows from the newest down, of which only a few lie after the position.
func (d *DB) latestAtQuery(users []bridge.UserID, at position) *bun.SelectQuery {
	last := d.read.NewSelect()
	if d.dialect == Postgres {
		last.Where("((n.xid, n.id) <= (?::xid8, ?) OR "+foreignRow+")", xid8(at.xid), at.id)
	} else {
		last.Where("n.id <= ?", at.id)
	}
	return d.latests(last).Where("i.user_id IN (?)", bun.List(users))
}

// LatestAt implements relay.Store. Rows that came with a dump of another cluster, see
// feed.go, count as before every position.
func (d *DB) LatestAt(ctx context.Context, users []bridge.UserID, p bridge.Position) ([]bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	at, err := d.position(p)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	var rows []notification
	err = d.latestAtQuery(users, at).Scan(ctx, &rows)
	return domains(rows, (*notification).domain), d.fail("read retained messages", err)
}
