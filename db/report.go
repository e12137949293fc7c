package db

import (
	"context"
	"database/sql"
	"errors"

	"github.com/falconalert/falconbridge/bridge"
)

const reportColumns = "id, user_id, title, status_id, created_at, updated_at"

func (r *report) scan(s scanner) error {
	return s.Scan(&r.ID, &r.UserID, &r.Title, &r.StatusID, &r.CreatedAt, &r.UpdatedAt)
}

const (
	addReport = "INSERT INTO falcon_reports (user_id, title, status_id, created_at, updated_at) VALUES (?, ?, ?, ?, ?) " +
		"ON CONFLICT (id) DO NOTHING RETURNING " + reportColumns
	addReportAs = "INSERT INTO falcon_reports (user_id, title, status_id, created_at, updated_at, id) VALUES (?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (id) DO NOTHING RETURNING " + reportColumns

	// followReport moves Postgres's identity past an id that a caller gave. Two at
	// once may move it back a little: an id it then gives is taken, and addReport
	// tries the next one. SQLite's AUTOINCREMENT follows by itself.
	followReport = "SELECT CASE WHEN last_value < ? THEN setval('falcon_reports_id_seq', ?) END FROM falcon_reports_id_seq"
)

// AddReport stores r; bridge.ErrConflict where the id is taken.
func (d *DB) AddReport(ctx context.Context, r bridge.NewReport) (bridge.Report, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if r.ID != 0 {
		if err := d.followReports(ctx, r.ID); err != nil {
			return bridge.Report{}, d.fail("add a report", err)
		}
	}
	now := nowMillis()
	query, args := addReport, []any{r.User, r.Title, r.Status, now, now}
	if r.ID != 0 {
		query, args = addReportAs, append(args, r.ID)
	}
	for {
		var row report
		err := row.scan(d.write.QueryRowContext(ctx, query, args...))
		if err == nil {
			return row.domain(), nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return bridge.Report{}, d.fail("add a report", err)
		}
		if r.ID != 0 {
			return bridge.Report{}, d.fail("add a report", bridge.ErrConflict)
		}
		if err := d.followReports(ctx, 0); err != nil {
			return bridge.Report{}, d.fail("add a report", err)
		}
	}
}

// followReports has the next id given be greater than id; 0 means than every one
// there is.
func (d *DB) followReports(ctx context.Context, id int64) error {
	if d.dialect != Postgres {
		return nil
	}
	if id == 0 {
		if err := d.row(ctx, "SELECT coalesce(max(id), 0) FROM falcon_reports").Scan(&id); err != nil {
			return err
		}
	}
	_, err := d.write.ExecContext(ctx, followReport, id, id)
	return err
}

// Report returns one report; bridge.ErrNotFound.
func (d *DB) Report(ctx context.Context, id int64) (bridge.Report, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var r report
	if err := r.scan(d.row(ctx, "SELECT "+reportColumns+" FROM falcon_reports WHERE id = ?", id)); err != nil {
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
	query, args := "SELECT "+reportColumns+" FROM falcon_reports WHERE id > 0", []any{}
	if q.User != "" {
		query, args = query+" AND user_id = ?", append(args, q.User)
	}
	if q.Before > 0 {
		query, args = query+" AND id < ?", append(args, q.Before)
	}
	rows, err := d.rows(ctx, query+" ORDER BY id DESC LIMIT ?", append(args, limit+1)...)
	if err != nil {
		return nil, false, d.fail("list reports", err)
	}
	defer func() { _ = rows.Close() }()
	reports = []bridge.Report{}
	for rows.Next() {
		var r report
		if err := r.scan(rows); err != nil {
			return nil, false, d.fail("list reports", err)
		}
		reports = append(reports, r.domain())
	}
	if err := rows.Err(); err != nil {
		return nil, false, d.fail("list reports", err)
	}
	if len(reports) > limit {
		return reports[:limit], true, nil
	}
	return reports, false, nil
}
