package db

import (
	"context"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/uptrace/bun"
)

var _ bun.BeforeAppendModelHook = (*report)(nil)

// BeforeAppendModel sets the dates of a new report. An imported report already has them.
func (r *report) BeforeAppendModel(_ context.Context, q bun.Query) error {
	if _, ok := q.(*bun.InsertQuery); ok && r.CreatedAt == 0 {
		r.CreatedAt = nowMillis()
		r.UpdatedAt = r.CreatedAt
	}
	return nil
}

// AddReport stores r. It fails with bridge.ErrConflict if r has an id that is in use.
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
		case err == nil: // the database gave an id that a caller had chosen before: try the next one
			err = d.followReports(ctx, 0)
		}
		if err != nil {
			return bridge.Report{}, d.fail("add a report", err)
		}
	}
}

// followReports makes sure that the next id from the database is greater than id, or if id
// is 0 greater than every existing id. On Postgres it advances the sequence of the identity
// column, which Bun cannot express; SQLite's AUTOINCREMENT does so by itself. Two concurrent
// calls may move the sequence back a little. The next id may then be in use, and AddReport
// tries another one.
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

// unerased restricts a query to reports that are not being erased, see erase.go.
func unerased(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Where("NOT EXISTS (SELECT 1 FROM falcon_tasks AS t WHERE t.kind = ? AND t.user_id = r.user_id AND t.up_to >= r.id)", eraseTask)
}

// Report returns one report. It fails with bridge.ErrNotFound.
func (d *DB) Report(ctx context.Context, id int64) (bridge.Report, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	r := report{ID: id}
	if err := unerased(d.read.NewSelect().Model(&r)).WherePK().Scan(ctx); err != nil {
		return bridge.Report{}, d.fail("find a report", err)
	}
	return r.domain(), nil
}

// ListReports returns a page of reports, the highest id first. It reads a range of the
// primary key, or of falcon_reports_user.
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
