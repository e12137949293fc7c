package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
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

// pageRow is a row of a page: the inbox, with one of its notifications or nil. Both come
// from one statement, so that the counts and the rows are of the same snapshot.
type pageRow struct {
	inbox `bun:",extend"`

	Edge bridge.Seq `bun:",scanonly"` // the last row read, if the scan ended at its limit; else 0
	Item *pageItem  `bun:"rel:has-one,join:user_id=user_id"`
}

// pageItem is a row of the common table expression of List.
type pageItem struct {
	bun.BaseModel `bun:"table:page"`
	notification
}

// scanned is how many rows a page reads at most. If a filter skips many of them, the page
// may be short, or even empty, although more follow.
const scanned = 2000

// pageQuery selects the page that q asks for. It reads one range of the index (user_id,
// seq), or of falcon_notifications_unread if q asks for unread notifications only. The page
// of a muted user has counts but no rows.
//
// Hidden rows and rows of other kinds than q asks for are skipped. To bound how many rows
// are skipped, the page ends at the row that the query edge finds by an offset in the index.
func (d *DB) pageQuery(rows *[]pageRow, q bridge.Query) *bun.SelectQuery {
	span := func(s *bun.SelectQuery) *bun.SelectQuery {
		s.Model((*notification)(nil)).Where("n.user_id = ?", q.User).Where("n.seq > (SELECT erased_seq FROM own)")
		if q.Unread {
			s.Where("n.read_at = 0")
		}
		if q.Before > 0 {
			s.Where("n.seq < ?", q.Before)
		}
		if q.Forward {
			return s.Where("n.seq > ?", q.After).Order("n.seq")
		}
		return s.Order("n.seq DESC")
	}
	edge := span(d.read.NewSelect()).Column("seq").Offset(scanned - 1).Limit(1)
	page := span(d.read.NewSelect()).Where(d.live("n")).Limit(int64(q.Limit + 1))
	if q.Forward {
		page.Where("n.seq <= coalesce((SELECT seq FROM edge), ?)", int64(math.MaxInt64))
	} else {
		page.Where("n.seq >= coalesce((SELECT seq FROM edge), 0)")
	}
	if len(q.Kinds) > 0 {
		page.Where("n.kind IN (?)", bun.List(q.Kinds))
	}
	if !q.Hidden {
		page.Where("NOT n.hidden")
	}
	own := d.withExpired(d.read.NewSelect().Model((*inbox)(nil))).Where("i.user_id = ?", q.User)
	return d.read.NewSelect().With("own", own).With("edge", edge).With("page", page).Model(rows).ModelTableExpr("own AS i").
		ColumnExpr("i.*").ColumnExpr("coalesce((SELECT seq FROM edge), 0) AS edge").RelationWithOpts("Item", on("(i.review_enabled OR ?)", q.Hidden))
}

// on returns an option that adds a condition to the join of a relation.
func on(condition string, args ...any) bun.RelationOpts {
	return bun.RelationOpts{AdditionalJoinOnConditions: []schema.QueryWithArgs{bun.SafeQuery(condition, args...)}}
}

// List returns a page of history, with the counts of the same snapshot.
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
		page.Count, page.Rev, page.Next = rows[i].count(), rows[i].Rev, rows[i].Edge
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
	page.More = page.Next > 0
	if len(page.Items) > q.Limit {
		page.Items, page.More = page.Items[:q.Limit], true
		page.Next = page.Items[q.Limit-1].Seq
	}
	return page, nil
}

// Count returns the counts of u's inbox; they are all 0 if u has none.
func (d *DB) Count(ctx context.Context, u bridge.UserID) (bridge.Count, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	box := inbox{UserID: u}
	err := d.withExpired(d.read.NewSelect().Model(&box)).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return bridge.Count{}, d.fail("count notifications", err)
	}
	return box.count(), nil
}

// Find returns one notification by its id, whether or not it is muted. It fails with
// bridge.ErrNotFound.
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

// markRead marks the visible notifications of box's user with after < seq <= end as read,
// and returns the change. It considers only the first limit rows of that range.
func markRead(ctx context.Context, tx bun.Tx, box *inbox, after, end bridge.Seq, limit int) (stateChange, error) {
	find := within(tx, box.UserID, after, end, limit).Where("n.read_at = 0").Where("NOT n.hidden")
	n, err := affected(tx.NewUpdate().WithQuery(bun.NewWithQuery("x", find.Column("id")).Materialized()).Model((*notification)(nil)).
		Set("read_at = ?", nowMillis()).Where("id IN (SELECT id FROM x)").Exec(ctx))
	return stateChange{upTo: end, unread: -n}, err
}

// within selects the first limit notifications of u with after < seq <= to. It reads a range
// of the index (user_id, seq), or with a condition on read_at one of
// falcon_notifications_unread.
//
// The limit guides the planner, which assumes that a user's share of the table and the share
// of a range of seqs are independent. If most users have ten notifications and one user has
// 500,000, the planner expects nearly all of these 500,000 within the first 500 seqs, and
// would read the whole table for them.
func within(tx bun.Tx, u bridge.UserID, after, to bridge.Seq, limit int) *bun.SelectQuery {
	return tx.NewSelect().Model((*notification)(nil)).Where("n.user_id = ?", u).Where("n.seq > ?", after).Where("n.seq <= ?", to).
		Order("n.seq").Limit(int64(limit))
}

// Read marks one notification of u as read and returns how many are still unread, which is 0
// while u is muted. It fails with bridge.ErrNotFound.
func (d *DB) Read(ctx context.Context, u bridge.UserID, id int64) (unread int64, err error) {
	return d.setRead(ctx, "read a notification", u, id, true)
}

// Unread implements bridge.History.
func (d *DB) Unread(ctx context.Context, u bridge.UserID, id int64) (unread int64, err error) {
	return d.setRead(ctx, "mark a notification as unread", u, id, false)
}

func (d *DB) setRead(ctx context.Context, op string, u bridge.UserID, id int64, read bool) (unread int64, err error) {
	err = d.withInbox(ctx, op, u, func(ctx context.Context, tx bun.Tx, box *inbox) error {
		n := notification{ID: id}
		err := tx.NewSelect().Model(&n).Column("read_at", "hidden").WherePK().Where("user_id = ?", u).Where("seq > ?", box.ErasedSeq).Where(d.live("n")).Scan(ctx)
		if err == nil && read != (n.ReadAt > 0) {
			c := stateChange{ids: []int64{id}, unread: 1}
			if n.ReadAt = 0; read {
				n.ReadAt, c.unread = nowMillis(), -1
			}
			if n.Hidden {
				c.hiddenUnread = c.unread
			}
			if _, err = tx.NewUpdate().Model(&n).Column("read_at").WherePK().Exec(ctx); err == nil {
				err = d.change(ctx, tx, box, c)
			}
		}
		if err == nil {
			unread, err = d.unread(ctx, tx, box)
		}
		return err
	})
	return unread, err
}

// ReadUpTo implements bridge.History. If one step is enough for the unread notifications, a
// single transaction marks them; otherwise a task does.
func (d *DB) ReadUpTo(ctx context.Context, u bridge.UserID, upTo bridge.Seq) (unread int64, done bool, err error) {
	var last bridge.Seq
	done = true
	err = d.withInbox(ctx, "read notifications", u, func(ctx context.Context, tx bun.Tx, box *inbox) error {
		last = min(cmp.Or(upTo, box.LastSeq), box.LastSeq)
		if done = box.Unread <= int64(d.stepRows); done {
			c, err := markRead(ctx, tx, box, box.ErasedSeq, last, d.stepRows)
			if err == nil && c.unread < 0 {
				err = d.change(ctx, tx, box, c)
			}
			if err != nil {
				return err
			}
		}
		unread, err = d.unread(ctx, tx, box)
		return err
	})
	if errors.Is(err, bridge.ErrNotFound) {
		return 0, true, nil // no inbox yet
	}
	if err != nil || done {
		return unread, done, err
	}
	if err := d.beginTask(ctx, d.write, readTask, u, int64(last)); err != nil {
		return unread, false, d.fail("read notifications", err)
	}
	p := d.runTask(ctx, readTask, u, progress{unread: unread})
	if !p.done {
		return p.unread, false, nil
	}
	c, err := d.Count(ctx, u) // another node may have taken the last step
	return c.Unread, true, err
}

// Delete removes a notification of u, whose seq is never used again. It fails with
// bridge.ErrNotFound.
func (d *DB) Delete(ctx context.Context, u bridge.UserID, id int64) error {
	return d.withInbox(ctx, "delete a notification", u, func(ctx context.Context, tx bun.Tx, box *inbox) error {
		gone, err := d.removeNotifications(ctx, tx, deleted, func(q bun.QueryBuilder) bun.QueryBuilder {
			return q.Where("id = ?", id).Where("user_id = ?", u).Where("seq > ?", box.ErasedSeq).Where(d.live(""))
		})
		if err == nil && len(gone) == 0 {
			err = sql.ErrNoRows
		}
		return err
	})
}

// DeleteRead implements bridge.History. If one step is enough for the user's rows, it is a
// single transaction; otherwise it is a task.
func (d *DB) DeleteRead(ctx context.Context, u bridge.UserID) (done bool, err error) {
	var last bridge.Seq
	err = d.withInbox(ctx, "delete read notifications", u, func(ctx context.Context, tx bun.Tx, box *inbox) error {
		last = box.LastSeq
		if done = box.Total <= int64(d.stepRows); !done {
			return nil
		}
		return d.deleteRead(ctx, tx, box, box.ErasedSeq, last, d.stepRows, nowMillis())
	})
	if errors.Is(err, bridge.ErrNotFound) {
		return true, nil // no inbox yet
	}
	if err != nil || done {
		return done, err
	}
	if err := d.beginTask(ctx, d.write, deleteTask, u, int64(last)); err != nil {
		return false, d.fail("delete read notifications", err)
	}
	return d.runTask(ctx, deleteTask, u, progress{}).done, nil
}
