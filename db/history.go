package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"
)

var (
	_ bridge.History = (*DB)(nil)
	_ bridge.Reports = (*DB)(nil)
	_ bridge.Cluster = (*DB)(nil)
)

// pageRow is a row of a page: the inbox, and one of its notifications or nil. It
// comes from one statement, so that counts and rows are of one snapshot.
type pageRow struct {
	inbox `bun:",extend"`

	Item *pageItem `bun:"rel:has-one,join:user_id=user_id"`
}

// pageItem is a row of the common table expression of List.
type pageItem struct {
	bun.BaseModel `bun:"table:page"`
	notification
}

// pageQuery finds the page of q: one range of the index (user_id, seq), of
// falcon_notifications_unread where only unread ones are asked for. A muted user
// has counts and no rows.
func (d *DB) pageQuery(rows *[]pageRow, q bridge.Query) *bun.SelectQuery {
	page := d.read.NewSelect().Model((*notification)(nil)).Where("n.user_id = ?", q.User).Where("n.seq > (?)", erased(q.User)).Where(d.live("n")).Limit(int64(q.Limit + 1))
	if q.Unread {
		page.Where("n.read_at = 0")
	}
	if q.Forward {
		page.Where("n.seq > ?", q.After)
	}
	if q.Before > 0 {
		page.Where("n.seq < ?", q.Before)
	}
	if q.Forward {
		page.Order("n.seq")
	} else {
		page.Order("n.seq DESC")
	}
	return d.withExpired(d.read.NewSelect()).With("page", page).Model(rows).Where("i.user_id = ?", q.User).
		RelationWithOpts("Item", on("i.review_enabled"))
}

// on adds a condition to the join of a relation.
func on(condition string, args ...any) bun.RelationOpts {
	return bun.RelationOpts{AdditionalJoinOnConditions: []schema.QueryWithArgs{bun.SafeQuery(condition, args...)}}
}

// List returns a page of history and the counts of the same snapshot.
func (d *DB) List(ctx context.Context, q bridge.Query) (bridge.Page, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	q.Limit = pageSize(q.Limit)
	var rows []pageRow
	if err := d.pageQuery(&rows, q).Scan(ctx); err != nil {
		return bridge.Page{}, d.fail("list notifications", err)
	}
	page := bridge.Page{Items: []bridge.Notification{}}
	for i := range rows {
		page.Count = rows[i].count()
		if rows[i].Item != nil {
			page.Items = append(page.Items, rows[i].Item.domain())
		}
	}
	// A join promises no order.
	slices.SortFunc(page.Items, func(a, b bridge.Notification) int {
		if q.Forward {
			return cmp.Compare(a.Seq, b.Seq)
		}
		return cmp.Compare(b.Seq, a.Seq)
	})
	if len(page.Items) > q.Limit {
		page.Items, page.More = page.Items[:q.Limit], true
	}
	return page, nil
}

// Count returns what u's inbox holds; all 0 where u has none.
func (d *DB) Count(ctx context.Context, u bridge.UserID) (bridge.Count, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	in := inbox{UserID: u}
	err := d.withExpired(d.read.NewSelect().Model(&in)).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return bridge.Count{}, d.fail("count notifications", err)
	}
	return in.count(), nil
}

// Find returns one notification by id, muted or not; bridge.ErrNotFound.
func (d *DB) Find(ctx context.Context, id int64) (bridge.Notification, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n := notification{ID: id}
	err := d.read.NewSelect().Model(&n).WherePK().Where(d.live("n")).
		Where("n.seq > (SELECT i.erased_seq FROM falcon_inboxes AS i WHERE i.user_id = n.user_id)").Scan(ctx)
	if err != nil {
		return bridge.Notification{}, d.fail("find a notification", err)
	}
	return n.domain(), nil
}

// markRead marks those of in's notifications that find selects as read, and counts
// them. find is a query of their model that selects unread ones.
func (i *inbox) markRead(ctx context.Context, tx bun.Tx, find *bun.SelectQuery) error {
	n, err := affected(tx.NewUpdate().WithQuery(bun.NewWithQuery("x", find.Column("id")).Materialized()).Model((*notification)(nil)).
		Set("read_at = ?", nowMillis()).Where("id IN (SELECT id FROM x)").Exec(ctx))
	if err != nil {
		return err
	}
	return i.counted(ctx, tx, 0, -n)
}

// unreadWithin selects the first limit unread notifications of u with after < seq <= to,
// a range of falcon_notifications_unread.
//
// It has a limit because a planner takes a user's share of the table and the share of a
// range of seqs as independent of each other: where most users have ten notifications
// and one has 500,000, it expects nearly all of these within the first 500 seqs, and
// would read the whole table for them.
func unreadWithin(tx bun.Tx, u bridge.UserID, after, to bridge.Seq, limit int) *bun.SelectQuery {
	return tx.NewSelect().Model((*notification)(nil)).Where("n.user_id = ?", u).Where("n.seq > ?", after).Where("n.seq <= ?", to).
		Where("n.read_at = 0").Order("n.seq").Limit(int64(limit))
}

// Read marks one notification of u as read and returns how many stay unread, 0
// while u is muted. bridge.ErrNotFound.
func (d *DB) Read(ctx context.Context, u bridge.UserID, id int64) (unread int64, err error) {
	err = d.withInbox(ctx, "read a notification", u, func(ctx context.Context, tx bun.Tx, in *inbox) error {
		n := notification{ID: id}
		err := tx.NewSelect().Model(&n).Column("read_at").WherePK().Where("user_id = ?", u).Where("seq > ?", in.ErasedSeq).Where(d.live("n")).Scan(ctx)
		if err == nil && n.ReadAt == 0 {
			err = in.markRead(ctx, tx, tx.NewSelect().Model((*notification)(nil)).Where("n.id = ?", id))
		}
		if err == nil {
			unread, err = d.unread(ctx, tx, in)
		}
		return err
	})
	return unread, err
}

// ReadUpTo implements bridge.History. As many as fit one step are marked at once; more
// are a task.
func (d *DB) ReadUpTo(ctx context.Context, u bridge.UserID, upTo bridge.Seq) (unread int64, done bool, err error) {
	var last bridge.Seq
	done = true
	err = d.withInbox(ctx, "read notifications", u, func(ctx context.Context, tx bun.Tx, in *inbox) error {
		last = min(cmp.Or(upTo, in.LastSeq), in.LastSeq)
		if done = in.Unread <= int64(d.stepRows); done {
			if err := in.markRead(ctx, tx, unreadWithin(tx, u, in.ErasedSeq, last, d.stepRows)); err != nil {
				return err
			}
		}
		unread, err = d.unread(ctx, tx, in)
		return err
	})
	if errors.Is(err, bridge.ErrNotFound) {
		return 0, true, nil // no inbox yet
	}
	if err != nil || done {
		return unread, done, err
	}
	if err := d.begin(ctx, d.write, readTask, u, int64(last)); err != nil {
		return unread, false, d.fail("read notifications", err)
	}
	p := d.drive(ctx, readTask, u, progress{unread: unread})
	if !p.done {
		return p.unread, false, nil
	}
	c, err := d.Count(ctx, u) // another node may have taken the last step
	return c.Unread, true, err
}

// Delete removes a notification of u; bridge.ErrNotFound. Its seq is never used
// again.
func (d *DB) Delete(ctx context.Context, u bridge.UserID, id int64) error {
	return d.withInbox(ctx, "delete a notification", u, func(ctx context.Context, tx bun.Tx, in *inbox) error {
		gone, err := d.removeNotifications(ctx, tx, deleted, func(q bun.QueryBuilder) bun.QueryBuilder {
			return q.Where("id = ?", id).Where("user_id = ?", u).Where("seq > ?", in.ErasedSeq).Where(d.live(""))
		})
		if err == nil && len(gone) == 0 {
			err = sql.ErrNoRows
		}
		return err
	})
}
