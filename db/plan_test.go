package db

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// spy is a query hook that keeps the statements it sees.
type spy struct {
	mu      sync.Mutex
	queries []string
}

func (s *spy) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (s *spy) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, e.Query)
}

// statements runs f and returns the statements it sent, with their arguments.
func (s *spy) statements(t *testing.T, f func(ctx context.Context) error) []string {
	t.Helper()
	s.mu.Lock()
	s.queries = nil
	s.mu.Unlock()
	must(t, f(testContext(t)))
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []string{}
	for _, q := range s.queries {
		if regexp.MustCompile(`^\s*(SELECT|WITH|INSERT|UPDATE|DELETE)`).MatchString(q) {
			out = append(out, q)
		}
	}
	return out
}

// populate adds 30,000 rows to each of the tables of inboxes, sessions, connections,
// reports, revocations, audit entries and keys, in addition to what fill creates.
func populate(t *testing.T, d *DB) {
	t.Helper()
	fill(t, d)
	// So many rows that a full scan is never the cheapest plan. SQLite gets fewer: its plans
	// depend on the indexes rather than on the size, and it inserts slowly under the race
	// detector.
	last := 29_999
	if d.dialect == SQLite {
		last = 2_999
	}
	numbers := fmt.Sprintf("WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < %d) SELECT ", last)
	rows := numbers + "'u' || (n % 1000), "
	for _, q := range []string{
		"INSERT INTO falcon_inboxes (user_id) " + numbers + "'quiet' || n FROM c",
		"INSERT INTO falcon_sessions (user_id, client_id, generation, node, expiry_ms, expires_at, used_at, subscribed) " +
			rows + "'c' || (n / 1000), n, CASE WHEN n % 2 = 0 THEN 'n1' ELSE '' END, 3600000, CASE WHEN n % 2 = 0 THEN 0 ELSE " + string(d.clock()) +
			" + 3600000 END, " + string(d.clock()) + ", n >= 0 FROM c",
		"INSERT INTO falcon_connections (user_id, client_id, generation, node, protocol, transport, remote, persistent, since) " +
			rows + "'c' || (n / 1000), n, 'n1', 5, 'ws', 'r', n >= 0, 1 FROM c",
		"INSERT INTO falcon_reports (user_id, title, status_id, created_at, updated_at) " + rows + "'T', 1, 1, 1 FROM c",
		"INSERT INTO falcon_revocations (jti, user_id, expires_at, at) " + numbers +
			"CASE WHEN n % 2 = 0 THEN 'r' || n ELSE '' END, CASE WHEN n % 2 = 0 THEN '' ELSE 'u' || n END, " +
			"CASE WHEN n % 4 = 0 THEN n ELSE 0 END, n FROM c",
		"INSERT INTO falcon_audit (sub, user_id, action, at) " + rows + "'root', 'user.end', " + string(d.clock()) + " FROM c",
		"INSERT INTO falcon_keys (caller, key, body, answer, created_at) " + rows + "'k' || n, 'b', '[]', " + string(d.clock()) + " FROM c",
	} {
		exec(t, d, q)
	}
	must(t, d.Beat(testContext(t), "n1", bridge.Figures{}))
	analyze(t, d)
}

// big finds full scans of the tables that grow with the number of users, by their names
// and aliases. The tables of nodes and orders are small and may be scanned.
var big = regexp.MustCompile(`(?m)Seq Scan on falcon_(inboxes|notifications|sessions|connections|reports|keys|revocations)|` +
	`^SCAN (falcon_(inboxes|notifications|sessions|connections|reports|keys|revocations)|[cfiklnrsv]|latest|l)$`)

var sorted = regexp.MustCompile(`(?m)^\s*(->  )?(Incremental )?Sort|USE TEMP B-TREE`)

// Every statement about history, sessions, reports, connections and pruning must read a
// range of an index, however large the tables are.
func TestStatementsReadIndexRanges(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		populate(t, d)
		s := &spy{}
		separate := d.write != d.read
		d.read = d.read.WithQueryHook(s)
		if d.write = d.read; separate {
			d.write = d.log.WithQueryHook(s)
		}
		ctx := testContext(t)
		page, err := d.List(ctx, bridge.Query{User: "u5", Limit: 20})
		must(t, err)
		ids := func(i int) int64 { return page.Items[i].ID }
		gen := number(t, d, "SELECT generation FROM falcon_sessions WHERE user_id = 'u5' AND client_id = 'c0'")
		now, err := d.Now(ctx)
		must(t, err)
		for range 3 { // enough new rows that a scan of all inboxes would look cheap
			drafts := make([]bridge.Draft, bridge.MaxBatch)
			for i := range drafts {
				drafts[i] = draft(bridge.UserID(fmt.Sprint("u", i)), "news")
			}
			mustAppend(t, d, bridge.Command{Drafts: drafts})
		}
		analyze(t, d)
		as := make([]bridge.Advance, 10)
		for i := range as {
			as[i] = bridge.Advance{Device: dev(bridge.UserID(fmt.Sprint("u", i)), "c0"), Generation: int64(i), Acked: 3, Sent: 3, Closed: i%2 == 0, Expiry: time.Hour}
		}
		sqlite := d.dialect == SQLite // it sorts the rows of a bounded scan, though they are in order
		for name, tt := range map[string]struct {
			do    func(ctx context.Context) error
			sorts bool // it may sort the rows it found, though not all rows it could read
		}{
			"a page":        {func(ctx context.Context) error { return second(d.List(ctx, bridge.Query{User: "u5"})) }, false},
			"a page before": {func(ctx context.Context) error { return second(d.List(ctx, bridge.Query{User: "u5", Before: 15})) }, false},
			"a page after": {func(ctx context.Context) error {
				return second(d.List(ctx, bridge.Query{User: "u5", Forward: true, After: 3}))
			}, false},
			"unread": {func(ctx context.Context) error { return second(d.List(ctx, bridge.Query{User: "u5", Unread: true})) }, false},
			"unread before": {func(ctx context.Context) error {
				return second(d.List(ctx, bridge.Query{User: "u5", Unread: true, Before: 9}))
			}, false},
			"counts":                   {func(ctx context.Context) error { return second(d.Count(ctx, "u5")) }, false},
			"find":                     {func(ctx context.Context) error { return second(d.Find(ctx, ids(2))) }, false},
			"read one":                 {func(ctx context.Context) error { return second(d.Read(ctx, "u5", ids(3))) }, false},
			"read up to":               {func(ctx context.Context) error { return second(readUpTo(ctx, d, "u5", 7)) }, false},
			"delete":                   {func(ctx context.Context) error { return d.Delete(ctx, "u5", ids(4)) }, false},
			"what changed of an inbox": {func(ctx context.Context) error { return second(d.Changes(ctx, "u5", 0)) }, false},
			"revs":                     {func(ctx context.Context) error { return second(d.Revs(ctx, []bridge.UserID{"u5", "u6", "u7"})) }, false},
			"settings":                 {func(ctx context.Context) error { return second(d.Settings(ctx, "u5")) }, false},
			"mute":                     {func(ctx context.Context) error { return set(ctx, d, "u6", muted) }, false},
			"erase":                    {func(ctx context.Context) error { return second(d.Erase(ctx, "u7")) }, true},
			"open": {func(ctx context.Context) error {
				return second(d.Open(ctx, bridge.OpenSession{Device: dev("u8", "c0"), Expiry: time.Hour}))
			}, false},
			"open a new one": {func(ctx context.Context) error {
				return second(d.Open(ctx, bridge.OpenSession{Device: dev("u8", "new"), Expiry: time.Hour}))
			}, true},
			"subscribe": {func(ctx context.Context) error {
				_, _, err := d.Subscribe(ctx, dev("u5", "c0"), gen, bridge.Subscription{}, nil)
				return err
			}, false},
			"unsubscribe": {func(ctx context.Context) error { return d.Unsubscribe(ctx, dev("u5", "c0"), gen) }, false},
			"advance":     {func(ctx context.Context) error { return d.Advance(ctx, as) }, true},
			"register": {func(ctx context.Context) error {
				some := []bridge.Connection{{Device: dev("u5", "c0"), Generation: 40_000}, {Device: dev("u6", "c0"), Generation: 40_001}}
				return d.Register(ctx, "n1", some, some[:1])
			}, true},
			"deliveries": {func(ctx context.Context) error { return second(d.Deliveries(ctx, page.Items[0])) }, true},
			"explain":    {func(ctx context.Context) error { return second(d.Explain(ctx, page.Items[0].ID)) }, true},
			"a user's reports": {func(ctx context.Context) error {
				_, _, err := d.ListReports(ctx, bridge.ReportQuery{User: "u5"})
				return err
			}, false},
			"everybody's reports": {func(ctx context.Context) error {
				_, _, err := d.ListReports(ctx, bridge.ReportQuery{Before: 4000})
				return err
			}, false},
			"a user's connections": {func(ctx context.Context) error {
				_, _, err := d.Connections(ctx, bridge.ConnectionQuery{User: "u5"})
				return err
			}, true},
			"all connections": {func(ctx context.Context) error {
				_, _, err := d.Connections(ctx, bridge.ConnectionQuery{After: &bridge.ConnectionCursor{Device: dev("u5", "c1")}, Match: "c2"})
				return err
			}, sqlite},
			"all connections, newest first": {func(ctx context.Context) error {
				_, _, err := d.Connections(ctx, bridge.ConnectionQuery{BySince: true, Reverse: true, After: &bridge.ConnectionCursor{Since: time.UnixMilli(5)}})
				return err
			}, sqlite},
			"absent devices": {func(ctx context.Context) error {
				_, _, err := d.Sessions(ctx, bridge.SessionQuery{After: dev("u5", "c1"), Absent: true, Behind: true})
				return err
			}, sqlite},
			"what changed": {func(ctx context.Context) error {
				_, _, _, err := d.Changed(ctx, now, 10)
				return err
			}, true},
			"expire sessions":    {func(ctx context.Context) error { return second(d.ExpireSessions(ctx, 10)) }, false},
			"expire revocations": {func(ctx context.Context) error { return second(d.ExpireRevocations(ctx, time.Minute, 10)) }, false},
			"read revocations": {func(ctx context.Context) error {
				return second(d.Revocations(ctx, bridge.Revocation{ID: "r5", At: time.UnixMilli(5000)}, 10))
			}, false},
			"look a revocation up": {func(ctx context.Context) error {
				return second(d.Revoked(ctx, bridge.Claims{ID: "r5", User: "u5", IssuedAt: time.UnixMilli(1)}))
			}, false},
			"expire audit": {func(ctx context.Context) error { return second(d.ExpireAudit(ctx, time.Hour, 10)) }, false},
			"read the audit log": {func(ctx context.Context) error {
				_, _, err := d.Entries(ctx, 4000, 10)
				return err
			}, false},
			"expire keys": {func(ctx context.Context) error { return second(d.ExpireKeys(ctx, 10)) }, false},
			"retain":      {func(ctx context.Context) error { return second(d.Retain(ctx, time.Now().Add(-time.Hour), 10)) }, true},
		} {
			for _, q := range s.statements(t, tt.do) {
				plan := explain(t, d, q)
				if big.MatchString(plan) {
					t.Errorf("%s scans a table:\n%s\n%s", name, q, plan)
				}
				if !tt.sorts && sorted.MatchString(plan) {
					t.Errorf("%s sorts:\n%s\n%s", name, q, plan)
				}
			}
		}
	})
}

// appendMany appends a notification to each of two users, as a batch of two commands.
const appendMany = `SELECT * FROM falcon_append('{0,1}', '{u5,u6}', '{message,message}', '{t,t}', '{m,m}', '{0,0}', '{0,0}', '{"",""}', '{s,s}', NULL, NULL, NULL, ` +
	`'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', 1, NULL, NULL)`

// What an append costs must grow with the number of notifications, not with its square. The
// planner does not know how long the arrays are, so it may choose a join that compares each
// notification of a call with each.
func TestAppendComparesNoRowWithEachOther(t *testing.T) {
	url := testserver.Postgres(t)
	d := openTest(t, Options{URL: url})
	const many = 400
	cmds, users := make([]int, many), make([]string, many)
	for i := range many {
		cmds[i], users[i] = i, fmt.Sprintf("u%d", i)
	}
	exec(t, d, "INSERT INTO falcon_inboxes (user_id) SELECT unnest(?::text[])", pgdialect.Array(users[many/4:]))

	conf, err := pgconn.ParseConfig(url)
	must(t, err)
	var plans []string
	conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { plans = append(plans, n.Message) }
	ctx := testContext(t)
	conn, err := pgconn.ConnectConfig(ctx, conf)
	must(t, err)
	defer func() { _ = conn.Close(ctx) }()
	run := func(query string) {
		t.Helper()
		_, err := conn.Exec(ctx, query).ReadAll()
		must(t, err)
	}
	run(`LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
		SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off; SET client_min_messages = log`)

	a := newAppender(d)
	for name, change := range map[string]func(i int, c *bridge.Command){
		"one notification each": func(int, *bridge.Command) {},
		"with keys": func(i int, c *bridge.Command) {
			c.Key = &bridge.IdempotencyKey{Caller: "app", Key: fmt.Sprint(i)}
		},
		"superseding": func(i int, c *bridge.Command) { c.Drafts[0].Replaces = fmt.Sprint(i) },
		"many in a command": func(i int, c *bridge.Command) {
			if i == 0 {
				for _, u := range users {
					c.Drafts = append(c.Drafts, draft(bridge.UserID(u), "t"))
				}
			}
		},
	} {
		var batch []*call
		for i, u := range users {
			c := &call{cmd: one(bridge.UserID(u), "t")}
			change(i, &c.cmd)
			batch = append(batch, c)
		}
		a.collect(batch)
		plans = nil
		for range 2 { // the second time, keys are replayed
			run(d.log.NewRaw(appendAll, a.args(1, dontWait)...).String())
		}
		inserts := 0
		for _, plan := range plans {
			if strings.Contains(plan, "Insert on falcon_notifications") {
				inserts++
			}
			if n := comparedInVain(t, plan); n > 10*many {
				t.Errorf("%s: a plan compares %d rows in vain:\n%s", name, n, plan)
			}
		}
		if inserts == 0 {
			t.Errorf("%s: the plan of no insert was logged", name)
		}
	}
}

var (
	planLoops   = regexp.MustCompile(`loops=(\d+)`)
	planRemoved = regexp.MustCompile(`Rows Removed by (?:Join )?Filter: (\d+)`)
)

// comparedInVain returns how many rows, or pairs of rows, the filters of an analyzed plan
// removed. EXPLAIN gives the mean of a node's loops, which it has on the node's first line.
func comparedInVain(t *testing.T, plan string) (n int) {
	t.Helper()
	number := func(m []string) int {
		v, err := strconv.Atoi(m[1])
		must(t, err)
		return v
	}
	loops := 1
	for line := range strings.Lines(plan) {
		if m := planLoops.FindStringSubmatch(line); m != nil {
			loops = number(m)
		} else if m := planRemoved.FindStringSubmatch(line); m != nil {
			n += loops * number(m)
		}
	}
	return n
}

// A connection keeps the plans of Postgres functions. A plan made on empty tables must not
// lead to full scans once they have rows. The test counts the rows that are read.
func TestFunctionsReadIndexRanges(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		if d.dialect != Postgres {
			t.Log("SQLite has no functions; TestStatementsReadIndexRanges checks its statements")
			if _, err := d.Open(testContext(t), bridge.OpenSession{Device: dev("u1", "c"), Expiry: time.Hour}); err != nil {
				t.Error(err)
			}
			return
		}
		undo := errors.New("undo")
		d.read.SetMaxOpenConns(1) // so that all calls use the same connection and its plans
		ctx := testContext(t)
		calls := map[string]string{
			"append many":      appendMany,
			"open":             "SELECT * FROM falcon_open('u5', 'c0', 'n1', false, 1000, 32, 12000)",
			"open a new one":   "SELECT * FROM falcon_open('u5', 'fresh', 'n1', false, 1000, 32, 12000)",
			"open, clean":      "SELECT * FROM falcon_open('u5', 'c0', 'n1', true, 1000, 32, 12000)",
			"open, not stored": "SELECT * FROM falcon_open('u5', 'none', 'n1', true, 0, 32, 12000)",
			"subscribe":        "SELECT * FROM falcon_follow('u5', 'c0', (SELECT generation FROM falcon_sessions WHERE user_id = 'u5' AND client_id = 'c0'), 1, false, 0, NULL)",
			"advance":          "SELECT falcon_advance('{u5,u6}', '{c0,c0}', '{5,6}', '{3,3}', '{3,3}', '{0,0}', '{t,f}', '{60000,0}')",
			"advance and skip": "SELECT falcon_advance('{u5,u6}', '{c0,c0}', (SELECT array_agg(generation ORDER BY user_id) FROM falcon_sessions WHERE user_id IN ('u5', 'u6') AND client_id = 'c0'), '{3,3}', '{3,3}', '{2,0}', '{f,t}', '{0,0}', '{\"\",0000000000000001000000000000000267}')",
			"supersede":        "SELECT falcon_notify('u5', 't', 'm', replaces => 'k')",
			"register":         "SELECT falcon_register('n2', '{u5,u6}', '{c0,c0}', '{9000000,9000001}', '{5,5}', '{ws,ws}', '{r,r}', '{t,t}', '{1,1}', '{u7}', '{c0}', '{7}', 1)",
		}
		const reads = "SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(oid)), 0) FROM pg_class WHERE relname IN " +
			"('falcon_sessions', 'falcon_notifications', 'falcon_inboxes', 'falcon_connections', 'falcon_histories', 'falcon_past_sessions')"
		for _, full := range []bool{false, true} {
			if full {
				populate(t, d)
				exec(t, d, "UPDATE falcon_sessions SET generation = generation + (SELECT max(generation) FROM falcon_epochs) WHERE user_id IN ('u5', 'u6')") // else former ones
			}
			for name, call := range calls {
				err := d.read.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
					var before, after int64
					if err := tx.QueryRowContext(ctx, reads).Scan(&before); err != nil {
						return err
					}
					if _, err := tx.ExecContext(ctx, call); err != nil {
						return err
					}
					if err := tx.QueryRowContext(ctx, reads).Scan(&after); err != nil {
						return err
					}
					if after-before > 100 {
						t.Errorf("%s read %d rows by sequential scans", name, after-before)
					}
					return undo
				})
				if !errors.Is(err, undo) {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	})
}

// One user has ten thousand notifications and all others have twenty. The planner assumes
// that the user and the seq are independent, so it expects nearly all of the user's rows in
// any range of low seqs and may choose to scan the whole table.
func TestAUserWithManyRowsIsReadAndErasedByAnIndex(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		fill(t, d)
		for range 10 {
			drafts := make([]bridge.Draft, bridge.MaxBatch)
			for i := range drafts {
				drafts[i] = draft("many", "news")
			}
			mustAppend(t, d, bridge.Command{Drafts: drafts})
		}
		analyze(t, d)
		s := &spy{}
		separate := d.write != d.read
		d.read = d.read.WithQueryHook(s)
		if d.write = d.read; separate {
			d.write = d.log.WithQueryHook(s)
		}
		d.stepRows = 100
		changed := 0
		for name, do := range map[string]func(ctx context.Context) error{
			"read all": func(ctx context.Context) error {
				if err := d.beginTask(ctx, d.write, readTask, "many", 10_000); err != nil {
					return err
				}
				return second(d.stepTask(ctx, readTask, "many", d.stepRows, false))
			},
			"erase": func(ctx context.Context) error { return second(d.Erase(ctx, "many")) },
		} {
			for _, q := range s.statements(t, do) {
				if strings.Contains(q, `UPDATE "falcon_notifications"`) || strings.Contains(q, `DELETE FROM "falcon_notifications"`) {
					changed++
				}
				if !strings.Contains(q, "falcon_notifications") {
					continue
				}
				if plan := explain(t, d, q); big.MatchString(plan) {
					t.Fatalf("%s scans a table:\n%s\n%s", name, q, plan)
				}
			}
			analyze(t, d)
		}
		if changed < 2 {
			t.Errorf("%d statements changed notifications, want at least 2 whose plans were checked", changed)
		}
	})
}

// Loading a dump, or a large INSERT by an application, leaves millions of rows with one
// transaction ID. A page of the sweep must read only its own part of them.
func TestAPageOfTheSweepReadsOnlyItsRowsOfALargeTransaction(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	exec(t, d, "INSERT INTO falcon_notifications (user_id, seq, kind, title, message, created_at, xid) "+
		"SELECT 'u' || n, 1, 'message', 't', 'm', 1, pg_current_xact_id() FROM generate_series(1, 50000) n")
	analyze(t, d)
	xid := number(t, d, "SELECT max(xid)::text::bigint FROM falcon_notifications")
	var rows, before, after int64
	must(t, d.inTx(testContext(t), func(ctx context.Context, tx bun.Tx) error {
		const fetched = "SELECT pg_stat_get_xact_blocks_fetched('falcon_notifications_feed'::regclass)"
		if err := tx.NewRaw(fetched).Scan(ctx, &before); err != nil {
			return err
		}
		if err := tx.NewRaw("SELECT count(*) FROM falcon_changed(?::text::xid8, 10000, ?::text::xid8, 60000, 100)", fmt.Sprint(xid), fmt.Sprint(xid)).Scan(ctx, &rows); err != nil {
			return err
		}
		return tx.NewRaw(fetched).Scan(ctx, &after)
	}))
	if rows != 101 {
		t.Fatalf("the page has %d rows, want 100 users and the row for its end", rows)
	}
	if after == before || after-before > 20 {
		t.Errorf("a page of 100 rows read %d blocks of the index", after-before)
	}
}
