package db

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/uptrace/bun"
)

// Late notifications are those that no device acknowledged in time, so that a Web Push or a
// webhook follows. One node at a time is the follower, see package late. It reads the log in
// the feed's order (feed.go) and stores attempts as rows of falcon_late: for each
// notification one for each device of its user that is registered for Web Push, and one for
// each condition of the webhooks (enter). An index finds a row once it is due. Only then
// does the follower check whether the notification was acknowledged or read meanwhile: due
// has the condition, and dueRow.domain decides. So each appended notification is read once,
// within the database, and everything after that depends only on the number of attempts.

// lateRow is a row of falcon_late: an attempt to reach a device or a webhook.
type lateRow struct {
	bun.BaseModel `bun:"table:falcon_late,alias:l"`

	Ref            string `bun:",pk"`
	Rule           string
	UserID         bridge.UserID
	ClientID       string
	NotificationID int64
	Seq            bridge.Seq
	Since          int64
	DueAt          int64
	Tries          int
	State          int
	Forced         bool
	Status         int
	DoneAt         int64
}

// The states of a lateRow.
const (
	lateWaiting = iota
	lateSent
	lateGivenUp
)

// lateLease is the name of the follower's lease.
const lateLease = "late"

// pushRule is the value of lateRow.Rule for Web Push.
const pushRule = string(late.Push)

// LeaseLate implements late.Store.
func (d *DB) LeaseLate(ctx context.Context, node string, ttl time.Duration) (state string, held bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	state, held, err = d.acquireLease(ctx, lateLease, node, ttl)
	return state, held, d.fail("acquire the follower's lease", err)
}

// ReleaseLate implements late.Store.
func (d *DB) ReleaseLate(ctx context.Context, node string) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("release the follower's lease", d.releaseLease(ctx, lateLease, node))
}

var errLeaseLost = errors.New("another node has the lease")

// Enter implements late.Store.
func (d *DB) Enter(ctx context.Context, node string, p late.Position, pushAfter time.Duration, rules []late.Rule, limit int) (next late.Position, more, held bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var now int64
	err = d.read.NewRaw("SELECT ?", d.clock()).Scan(ctx, &now)
	if err != nil {
		return p, false, false, d.fail("follow the log", err)
	}
	if now-p.ReadAt > late.Longest.Milliseconds() {
		p.Log = "" // pushes and webhooks were off: what was appended meanwhile is too old
	}
	from, err := d.position(p.Log)
	if err != nil {
		return p, false, false, err
	}
	end, err := d.horizon(ctx) // read after the clock: what had committed by then is below the horizon, or kept out of the feed
	if err != nil {
		return p, false, false, d.fail("follow the log", err)
	}
	next = late.Position{Log: d.opaque(end), ReadAt: now, Totals: p.Totals}
	if before(end, from) {
		next.Log = d.opaque(from) // the horizon has not reached from yet
	}
	span := d.span(from, end)
	if p.Log != "" && !p.Unsaved {
		anyNew, err := d.read.NewSelect().Model((*notification)(nil)).ApplyQueryBuilder(span).Limit(1).Exists(ctx)
		if err != nil || !anyNew {
			return next, false, err == nil, d.fail("follow the log", err)
		}
	}
	err = d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if p.Log != "" {
			last, found, err := d.lastOf(ctx, tx, span, limit)
			if err != nil {
				return err
			}
			if found {
				more, span = true, d.span(from, position{last.xid, last.id + 1})
				next.Log, next.ReadAt = d.opaque(last), p.ReadAt
			}
			if err := d.enter(ctx, tx, span, p.ReadAt, now, pushAfter, rules); err != nil {
				return err
			}
		}
		state, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("write the follower's position: %w", err)
		}
		held, err = d.saveLease(ctx, tx, lateLease, node, string(state))
		if err == nil && !held {
			err = errLeaseLost
		}
		return err
	})
	if errors.Is(err, errLeaseLost) {
		return p, false, false, nil
	}
	if err != nil {
		return p, false, false, d.fail("follow the log", err)
	}
	return next, more, true, nil
}

// span returns a condition for notifications n in the part of the feed after from and
// before end.
func (d *DB) span(from, end position) func(bun.QueryBuilder) bun.QueryBuilder {
	return func(q bun.QueryBuilder) bun.QueryBuilder {
		if d.dialect == Postgres {
			return q.Where("(n.xid, n.id) > (?::xid8, ?)", xid8(from.xid), from.id).Where("(n.xid, n.id) < (?::xid8, ?)", xid8(end.xid), end.id)
		}
		return q.Where("n.id > ?", from.id).Where("n.id <= ?", end.id)
	}
}

// lastOf returns the position of the limit-th row of a span. found is false if there are
// fewer rows.
func (d *DB) lastOf(ctx context.Context, tx bun.Tx, span func(bun.QueryBuilder) bun.QueryBuilder, limit int) (last position, found bool, err error) {
	var row fedNotification
	q := tx.NewSelect().Model(&row).Column("id").ApplyQueryBuilder(span).Offset(int64(limit - 1)).Limit(1)
	if d.dialect == Postgres {
		q.ColumnExpr("n.xid").Order("n.xid", "n.id")
	} else {
		q.Order("n.id")
	}
	err = q.Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return last, false, nil
	}
	return position{row.Xid, row.ID}, err == nil, err
}

// enter stores an attempt for each notification in a span of the feed and each rule. An
// attempt is due a fixed time after its notification was committed. No column has the time
// of the commit, and created_at may be much earlier, since an application may append in a
// long transaction. But the notifications of the span were not visible when the log was
// last read to its end, at readAt, so they were committed later. enter therefore takes the
// later of created_at and readAt, but never a time after now.
func (d *DB) enter(ctx context.Context, tx bun.Tx, span func(bun.QueryBuilder) bun.QueryBuilder, readAt, now int64, pushAfter time.Duration, rules []late.Rule) error {
	ref, least, greatest, foreign := "lower(hex(randomblob(16)))", "min", "max", "FALSE"
	if d.dialect == Postgres {
		ref, least, greatest, foreign = "replace(gen_random_uuid()::text, '-', '')", "least", "greatest", foreignRow
	}
	insert := func(rule, client string, after time.Duration, q *bun.SelectQuery) error {
		q.ColumnExpr(ref+" AS ref").ColumnExpr("? AS rule", rule).Column("n.user_id").ColumnExpr(client+" AS client_id").
			ColumnExpr("n.id AS notification_id").Column("n.seq").
			ColumnExpr(least+"("+greatest+"(n.created_at, ?), ?) + ? AS since", readAt, now, after.Milliseconds()).
			ColumnExpr(least+"("+greatest+"(n.created_at, ?), ?) + ? AS due_at", readAt, now, after.Milliseconds()).
			ApplyQueryBuilder(span).Where(d.deliverable()).Where("NOT " + foreign)
		_, err := tx.NewRaw("INSERT INTO falcon_late (ref, rule, user_id, client_id, notification_id, seq, since, due_at) ? ON CONFLICT DO NOTHING", q).Exec(ctx)
		return err
	}
	if pushAfter > 0 {
		err := insert(pushRule, "r.client_id", pushAfter,
			tx.NewSelect().TableExpr("falcon_notifications AS n").Join("JOIN falcon_registrations AS r ON r.user_id = n.user_id"))
		if err != nil {
			return err
		}
	}
	for _, r := range rules {
		if err := insert(r.String(), "''", r.After, tx.NewSelect().TableExpr("falcon_notifications AS n")); err != nil {
			return err
		}
	}
	return nil
}

// dueRow is an attempt that is due, with its notification, whose id is 0 if it is gone.
type dueRow struct {
	notification `bun:",extend"`

	Ref      string        `bun:",scanonly"`
	Rule     string        `bun:",scanonly"`
	Owner    bridge.UserID `bun:",scanonly"`
	ClientID string        `bun:",scanonly"`
	Since    int64         `bun:",scanonly"`
	Tries    int           `bun:",scanonly"`
	Forced   bool          `bun:",scanonly"`
	Endpoint string        `bun:",scanonly"`
	P256dh   string        `bun:",scanonly"`
	Auth     string        `bun:",scanonly"`
	Live     bool          `bun:",scanonly"`
	Answered bool          `bun:",scanonly"`
}

// domain converts r to the type of package late. It decides whether the attempt is still
// needed: Cancelled means that it is not.
func (r *dueRow) domain() late.Due {
	dev := bridge.Device{User: r.Owner, ClientID: r.ClientID}
	return late.Due{Ref: r.Ref, Rule: r.Rule, Device: dev, Since: moment(r.Since), Tries: r.Tries, Notification: r.notification.domain(),
		Registration: bridge.Registration{Device: dev, Endpoint: r.Endpoint, P256DH: r.P256dh, Auth: r.Auth},
		Cancelled:    !r.Live || r.Answered && !r.Forced || r.Rule == pushRule && r.Endpoint == ""}
}

// due selects attempts, with what decides whether they are made or cancelled: Live is false
// if the notification is muted or gone, and Answered is true if it was read or, depending
// on the rule, acknowledged. With push, due also reads the devices' registrations. The
// cursors of expired sessions count, because what a device acknowledged stays acknowledged.
// Cursors of a former epoch do not count, because their seqs belong to the log before the
// restore.
func (d *DB) due(rows *[]dueRow, push bool) *bun.SelectQuery {
	const current = " > " + currentEpoch
	const (
		bySession = "EXISTS (SELECT 1 FROM falcon_sessions AS s WHERE s.user_id = l.user_id AND s.client_id = l.client_id AND s.acked_seq >= l.seq AND s.generation" + current + ")"
		byDevice  = "EXISTS (SELECT 1 FROM falcon_acks AS a WHERE a.user_id = l.user_id AND a.client_id = l.client_id AND a.from_seq < l.seq AND a.acked_seq >= l.seq AND a.generation" + current + ")"
		byAny     = "EXISTS (SELECT 1 FROM falcon_sessions AS s WHERE s.user_id = l.user_id AND s.from_seq < l.seq AND s.acked_seq >= l.seq AND s.generation" + current + ") OR " +
			"EXISTS (SELECT 1 FROM falcon_acks AS a WHERE a.user_id = l.user_id AND a.from_seq < l.seq AND a.acked_seq >= l.seq AND a.generation" + current + ")"
	)
	q := d.read.NewSelect().Model(rows).ModelTableExpr("falcon_late AS l").
		Join("LEFT JOIN falcon_notifications AS n ON n.id = l.notification_id AND n.user_id = l.user_id")
	if push {
		q.Join("LEFT JOIN falcon_registrations AS r ON r.user_id = l.user_id AND r.client_id = l.client_id").
			ColumnExpr("coalesce(r.endpoint, '') AS endpoint, coalesce(r.p256dh, '') AS p256dh, coalesce(r.auth, '') AS auth")
	}
	return q.ColumnExpr("?TableColumns").ColumnExpr("l.ref, l.rule, l.user_id AS owner, l.client_id, l.since, l.tries, l.forced").
		ColumnExpr("coalesce(" + d.deliverable() + ", FALSE) AS live").
		ColumnExpr("coalesce(n.read_at > 0, FALSE) OR CASE WHEN l.client_id <> '' THEN " + bySession + " OR " + byDevice +
			" WHEN l.rule LIKE 'unacknowledged %' THEN " + byAny + " ELSE FALSE END AS answered").
		Where("l.state = 0")
}

const (
	dueScan = 2000   // how many due rows a call reads to find devices, and how many it returns at most
	dueSkip = 10_000 // how many more rows it reads to get past those of users in without
)

// DuePush implements late.Store. It finds devices by a range of falcon_late_push, and then
// reads a range of falcon_late_due for each of them. Both indexes contain only attempts that
// are not done. However many rows are due, for one device or for many, a call reads a
// bounded number of them. It gets past at most dueSkip rows of the users in without.
func (d *DB) DuePush(ctx context.Context, devices int, without []bridge.UserID) ([]late.Due, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	earliest := d.read.NewSelect().TableExpr("falcon_late AS f").Column("f.user_id", "f.client_id", "f.due_at").Where("f.state = 0").Where("f.client_id <> ''").
		Where("f.due_at <= ?", d.clock()).Order("f.due_at").Limit(dueScan)
	if len(without) > 0 {
		earliest = d.read.NewSelect().TableExpr("(?) AS o", earliest.Limit(dueScan+dueSkip)).Where("o.user_id NOT IN (?)", bun.List(without)).Order("o.due_at").Limit(dueScan)
	}
	byDevice := d.read.NewSelect().TableExpr("(?) AS g", earliest).Column("g.user_id", "g.client_id").Group("g.user_id", "g.client_id").
		OrderExpr("min(g.due_at)").Limit(int64(devices))
	var rows []dueRow
	q := d.due(&rows, true).WithQuery(bun.NewWithQuery("d", byDevice).Materialized()).Limit(dueScan)
	if d.dialect == Postgres { // reads device by device until there are enough rows; sorting here would read all of them first
		perDevice := d.read.NewSelect().TableExpr("falcon_late AS w").ColumnExpr("w.*").Where("w.user_id = d.user_id").Where("w.client_id = d.client_id").
			Where("w.state = 0").Where("w.client_id <> ''").Where("w.due_at <= ?", d.clock()).Order("w.seq").Limit(dueScan)
		q.ModelTableExpr("d CROSS JOIN LATERAL (?) AS l", perDevice)
	} else { // SQLite has no LATERAL
		q.Where("(l.user_id, l.client_id) IN (SELECT d.user_id, d.client_id FROM d)").Where("l.client_id <> ''").Where("l.due_at <= ?", d.clock()).
			Order("l.user_id", "l.client_id", "l.seq")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, d.fail("read due pushes", err)
	}
	due := domains(rows, (*dueRow).domain)
	slices.SortFunc(due, func(a, b late.Due) int {
		return cmp.Or(cmp.Compare(a.Device.User, b.Device.User), cmp.Compare(a.Device.ClientID, b.Device.ClientID), cmp.Compare(a.Notification.Seq, b.Notification.Seq))
	})
	return due, nil
}

// DueWebhooks implements late.Store. It reads a range of falcon_late_webhook.
func (d *DB) DueWebhooks(ctx context.Context, limit int) ([]late.Due, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	var rows []dueRow
	err := d.due(&rows, false).Where("l.client_id = ''").Where("l.due_at <= ?", d.clock()).Order("l.due_at").Limit(int64(limit)).Scan(ctx)
	return domains(rows, (*dueRow).domain), d.fail("read due webhooks", err)
}

// Begin implements late.Store.
func (d *DB) Begin(ctx context.Context, begun, cancelled []string, hold time.Duration) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return d.fail("begin attempts", d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if len(cancelled) > 0 {
			if _, err := tx.NewDelete().Model((*lateRow)(nil)).Where("ref IN (?)", bun.List(cancelled)).Where("state = 0").Exec(ctx); err != nil {
				return err
			}
		}
		if len(begun) == 0 {
			return nil
		}
		_, err := tx.NewUpdate().Model((*lateRow)(nil)).Set("due_at = ? + ?", d.clock(), hold.Milliseconds()).Set("tries = tries + 1").
			Where("ref IN (?)", bun.List(begun)).Where("state = 0").Exec(ctx)
		return err
	}))
}

// lateOutcome is the outcome of an attempt, as a row of a common table expression.
type lateOutcome struct {
	bun.BaseModel `bun:"table:done,alias:d"`

	Ref     string
	State   int
	Pause   int64
	Untried int
	Status  int
}

// RecordLate implements late.Store.
func (d *DB) RecordLate(ctx context.Context, done []late.Done) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	rows := make([]lateOutcome, len(done))
	for i, o := range done {
		rows[i] = lateOutcome{Ref: o.Ref, Status: o.Status}
		switch o.Result {
		case late.Sent:
			rows[i].State = lateSent
		case late.Rejected:
			rows[i].State = lateGivenUp
		case late.Limited:
			rows[i].Untried = 1
		}
		rows[i].Pause = o.After.Milliseconds()
	}
	_, err := d.write.NewUpdate().With("done", d.write.NewValues(&rows)).Model((*lateRow)(nil)).TableExpr("done AS d").
		Set("state = d.state").Set("status = d.status").Set("tries = l.tries - d.untried").
		Set("due_at = CASE WHEN d.state = 0 THEN ? + d.pause ELSE l.due_at END", d.clock()).
		Set("done_at = CASE WHEN d.state = 0 THEN 0 ELSE ? END", d.clock()).
		Where("l.ref = d.ref").Where("l.state = 0").Exec(ctx)
	return d.fail("record attempts", err)
}

// Waiting implements late.Store.
func (d *DB) Waiting(ctx context.Context, limit int) (push, webhooks late.Waiting, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	count := func(condition string) (w late.Waiting, err error) {
		earliest := d.read.NewSelect().TableExpr("falcon_late AS f").Column("f.since").Where("f.state = 0").Where(condition).Order("f.due_at").Limit(int64(limit))
		var row struct{ Count, Age int64 }
		err = d.read.NewSelect().TableExpr("(?) AS w", earliest).ColumnExpr("count(*) AS count").ColumnExpr("coalesce(? - min(w.since), 0) AS age", d.clock()).
			Where("w.since <= ?", d.clock()).Scan(ctx, &row)
		return late.Waiting{Count: row.Count, Oldest: time.Duration(row.Age) * time.Millisecond}, err
	}
	if push, err = count("f.client_id <> ''"); err == nil {
		webhooks, err = count("f.client_id = ''")
	}
	return push, webhooks, d.fail("count waiting attempts", err)
}

// PruneLate implements late.Store.
func (d *DB) PruneLate(ctx context.Context, doneAge, ackAge time.Duration, limit int) (n int, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err = d.remove(ctx, "ref", d.write.NewSelect().Model((*lateRow)(nil)).Where("l.state > 0").
		Where("l.done_at <= ? - ?", d.clock(), doneAge.Milliseconds()).Order("l.done_at"), limit)
	if err != nil {
		return n, d.fail("remove old attempts", err)
	}
	old, err := d.remove(ctx, "user_id, client_id, generation", d.write.NewSelect().Model((*ack)(nil)).
		Where("a.at <= ? - ?", d.clock(), ackAge.Milliseconds()).Order("a.at"), limit)
	if err != nil {
		return n + old, d.fail("remove old acknowledgements", err)
	}
	gone, err := d.expireRegistrations(ctx, limit)
	return n + old + gone, d.fail("expire registrations", err)
}

// Redeliver makes a webhook due at once, with the same id, even if its notification was
// acknowledged or read meanwhile. It fails with bridge.ErrNotFound if the webhook or its
// notification no longer exists.
func (d *DB) Redeliver(ctx context.Context, ref string) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	n, err := affected(d.write.NewUpdate().Model((*lateRow)(nil)).Set("state = 0").Set("forced = TRUE").Set("tries = 0").Set("status = 0").Set("done_at = 0").
		Set("since = ?", d.clock()).Set("due_at = ?", d.clock()).Where("ref = ?", ref).Where("client_id = ''").
		Where("EXISTS (SELECT 1 FROM falcon_notifications AS n WHERE n.id = l.notification_id AND " + d.deliverable() + ")").Exec(ctx))
	if err == nil && n == 0 {
		err = bridge.ErrNotFound
	}
	return d.fail("deliver a webhook again", err)
}

// LateCounted is where LateStats stops counting waiting attempts.
const LateCounted = 10_000

// LateStats returns how many attempts are waiting now, and how many had been sent or given
// up by the time the follower last stored its position.
func (d *DB) LateStats(ctx context.Context) (s late.Stats, err error) {
	push, webhooks, err := d.Waiting(ctx, LateCounted)
	if err != nil {
		return s, err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	row := lease{Name: lateLease}
	err = d.read.NewSelect().Model(&row).WherePK().Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s, d.fail("read the follower's position", err)
	}
	var p late.Position
	if row.State != "" {
		if err := json.Unmarshal([]byte(row.State), &p); err != nil {
			return s, fmt.Errorf("read the follower's position: %w", err)
		}
	}
	s.Push = late.Figures{Waiting: push.Count, Oldest: push.Oldest, Sent: p.Totals.PushSent, Failed: p.Totals.PushFailed}
	s.Webhooks = late.Figures{Waiting: webhooks.Count, Oldest: webhooks.Oldest, Sent: p.Totals.WebhooksSent, Failed: p.Totals.WebhooksFailed}
	return s, nil
}
