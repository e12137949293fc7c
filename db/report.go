package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

var _ bun.BeforeAppendModelHook = (*report)(nil)

// BeforeAppendModel dates a new report. An imported one has its dates already.
func (r *report) BeforeAppendModel(_ context.Context, q bun.Query) error {
	if _, ok := q.(*bun.InsertQuery); ok && r.CreatedAt == 0 {
		r.CreatedAt = nowMillis()
		r.UpdatedAt = r.CreatedAt
	}
	return nil
}

// AddReport stores r; bridge.ErrConflict where the id is taken.
func (d *DB) AddReport(ctx context.Context, r bridge.NewReport) (bridge.Report, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if r.ID != 0 {
		if err := d.followReports(ctx, r.ID); err != nil {
			return bridge.Report{}, d.fail("add a report", err)
		}
	}
	for {
		row := report{ID: r.ID, UserID: r.User, Title: r.Title, StatusID: r.Status}
		n, err := affected(d.write.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Returning("id").Exec(ctx))
		switch {
		case err == nil && n > 0:
			return row.domain(), nil
		case err == nil && r.ID != 0:
			err = bridge.ErrConflict
		case err == nil: // the id that the database gave is one that a caller chose before
			err = d.followReports(ctx, 0)
		}
		if err != nil {
			return bridge.Report{}, d.fail("add a report", err)
		}
	}
}

// followReports has the next id given be greater than id; 0 means than every one
// there is. It moves Postgres's identity, which Bun has no words for; SQLite's
// AUTOINCREMENT follows by itself. Two at once may move it back a little: an id it
// then gives is taken, and AddReport tries the next one.
func (d *DB) followReports(ctx context.Context, id int64) error {
	if d.dialect != Postgres {
		return nil
	}
	if id == 0 {
		if err := d.read.NewSelect().Model((*report)(nil)).ColumnExpr("coalesce(max(id), 0)").Scan(ctx, &id); err != nil {
			return err
		}
	}
	_, err := d.write.ExecContext(ctx,
		"SELECT CASE WHEN last_value < ?0 THEN setval('falcon_reports_id_seq', ?0) END FROM falcon_reports_id_seq", id)
	return err
}

// unerased leaves out of reports those that are being erased, see task.go.
func unerased(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Where("NOT EXISTS (SELECT 1 FROM falcon_tasks AS t WHERE t.kind = ? AND t.user_id = r.user_id AND t.up_to >= r.id)", eraseTask)
}

// Report returns one report; bridge.ErrNotFound.
func (d *DB) Report(ctx context.Context, id int64) (bridge.Report, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	r := report{ID: id}
	if err := unerased(d.read.NewSelect().Model(&r)).WherePK().Scan(ctx); err != nil {
		return bridge.Report{}, d.fail("find a report", err)
	}
	return r.domain(), nil
}

// ListReports returns a page of reports, newest id first: a range of the primary
// key, or of falcon_reports_user.
func (d *DB) ListReports(ctx context.Context, q bridge.ReportQuery) (reports []bridge.Report, more bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	limit := pageSize(q.Limit)
	var rows []report
	find := unerased(d.read.NewSelect().Model(&rows)).Order("r.id DESC").Limit(int64(limit + 1))
	if q.User != "" {
		find.Where("r.user_id = ?", q.User)
	}
	if q.Before > 0 {
		find.Where("r.id < ?", q.Before)
	}
	if err := find.Scan(ctx); err != nil {
		return nil, false, d.fail("list reports", err)
	}
	reports, more = cut(rows, limit, (*report).domain)
	return reports, more, nil
}
