package db

import (
	"context"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Record implements [bridge.Audit]. For entries that record reads, the unique index
// falcon_audit_reads allows one per reader, user and minute; Record drops the others.
func (d *DB) Record(ctx context.Context, entries ...bridge.AuditEntry) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	rows := make([]auditEntry, len(entries))
	for i, e := range entries {
		rows[i] = auditEntry{Sub: e.Sub, Jti: e.JTI, Action: e.Action, UserID: e.User, Remote: e.Remote, Detail: e.Detail}
	}
	_, err := d.write.NewInsert().Model(&rows).Value("at", "?", d.clock()).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
	return d.fail("record entries of the audit log", err)
}

// Entries implements [bridge.Audit]. It reads a range of the primary key.
func (d *DB) Entries(ctx context.Context, before int64, limit int) (page []bridge.AuditEntry, more bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	limit = pageSize(limit)
	var rows []auditEntry
	find := d.read.NewSelect().Model(&rows).Order("a.id DESC").Limit(int64(limit + 1))
	if before > 0 {
		find.Where("a.id < ?", before)
	}
	if err := find.Scan(ctx); err != nil {
		return nil, false, d.fail("read the audit log", err)
	}
	page, more = cut(rows, limit, (*auditEntry).domain)
	return page, more, nil
}

// ExpireAudit removes at most limit entries older than age, a range of falcon_audit_age,
// and returns how many.
func (d *DB) ExpireAudit(ctx context.Context, age time.Duration, limit int) (int, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := d.remove(ctx, "id", d.write.NewSelect().Model((*auditEntry)(nil)).
		Where("at <= ? - ?", d.clock(), age.Milliseconds()).Order("at"), limit)
	return n, d.fail("expire the audit log", err)
}

// domain converts e to the type of package bridge.
func (e *auditEntry) domain() bridge.AuditEntry {
	return bridge.AuditEntry{ID: e.ID, At: moment(e.At), Sub: e.Sub, JTI: e.Jti, Action: e.Action, User: e.UserID,
		Remote: e.Remote, Detail: e.Detail}
}
