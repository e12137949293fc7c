package db

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	osexec "os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
	"github.com/uptrace/bun"
)

var (
	layoutRows    = flag.Int("layout.rows", 1_000_000, "notifications in the table of BenchmarkLayouts, ten per user")
	layoutAppends = flag.Int64("layout.appends", 200_000, "notifications that BenchmarkLayouts appends to them")
)

// partitions is the number of partitions in both partitioned layouts: half a month of days
// by time, and by user enough that the indexes of one partition fit in memory.
const partitions = 16

// BenchmarkLayouts compares the table of notifications with two partitioned layouts: by
// time, which is by ranges of the ascending ID, and by a hash of the user. It measures the
// cost of an append, of a page, of a lookup by ID and of the retention of the oldest
// sixteenth. In every layout retention subtracts each row from its inbox's counts and
// leaves a tombstone; by time, the rows themselves are then dropped with their partition.
// Costs are bytes of write-ahead log and Postgres' processor time, which other load on the
// machine distorts less than the elapsed time. docs/decisions has the figures and the
// decision.
//
//	go test -run '^$' -bench Layouts -benchtime 1x -timeout 60m ./db -args -layout.rows=10000000
func BenchmarkLayouts(b *testing.B) {
	for _, layout := range []string{"one table", "by time", "by user"} {
		b.Run(layout, func(b *testing.B) {
			if b.N > 1 {
				b.Fatal("takes minutes: run it with -benchtime 1x")
			}
			s := testserver.NewPostgres(b, "max_wal_size=4GB", "maintenance_work_mem=1GB", "shared_buffers=1GB")
			l := &layouts{name: layout, s: s, d: openTest(b, Options{URL: s.URL}), users: *layoutRows / 10}
			l.sql(b, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
			l.build(b)
			l.append(b)
			l.read(b)
			l.retain(b)
		})
	}
}

type layouts struct {
	name  string
	s     *testserver.PostgresServer
	d     *DB
	users int
	first int64 // highest ID of the oldest partition
}

func (l *layouts) sql(b *testing.B, statements ...string) {
	b.Helper()
	args := []string{"-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", l.s.URL} // psql, since the statements take longer than the product's calls may
	for _, s := range statements {
		args = append(args, "-c", s)
	}
	if out, err := osexec.Command("psql", args...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}

func (l *layouts) number(b *testing.B, query string) (n int64) {
	b.Helper()
	if err := l.d.write.QueryRowContext(context.Background(), query).Scan(&n); err != nil {
		b.Fatalf("%s: %v", query, err)
	}
	return n
}

// build replaces the empty table with one of the layout, fills it, and then creates the
// indexes. Each user's notifications are spread over time, as in production.
func (l *layouts) build(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	type index struct{ Indexdef string }
	var indexes []index
	if err := l.d.write.NewSelect().TableExpr("pg_indexes").Column("indexdef").
		Where("tablename = 'falcon_notifications'").Scan(ctx, &indexes); err != nil {
		b.Fatal(err)
	}
	by := map[string]string{"one table": "", "by time": "PARTITION BY RANGE (id)", "by user": "PARTITION BY HASH (user_id)"}[l.name]
	l.sql(b, "ALTER TABLE falcon_notifications RENAME TO replaced",
		"CREATE TABLE falcon_notifications (LIKE replaced INCLUDING DEFAULTS INCLUDING IDENTITY) "+by)
	each := *layoutRows / partitions
	l.first = int64(each)
	for i := range partitions {
		switch l.name {
		case "by time":
			to := fmt.Sprint((i+1)*each + 1)
			if i == partitions-1 {
				to = "MAXVALUE"
			}
			l.sql(b, fmt.Sprintf("CREATE TABLE part_%d PARTITION OF falcon_notifications FOR VALUES FROM (%d) TO (%s)", i, i*each+1, to))
		case "by user":
			l.sql(b, fmt.Sprintf("CREATE TABLE part_%d PARTITION OF falcon_notifications FOR VALUES WITH (MODULUS %d, REMAINDER %d)", i, partitions, i))
		}
	}
	l.sql(b, fmt.Sprintf("INSERT INTO falcon_inboxes (user_id, last_seq, total, unread) SELECT u, 10, 10, 10 FROM generate_series(0, %d) u", l.users-1),
		fmt.Sprintf(`INSERT INTO falcon_notifications (user_id, seq, kind, title, message, created_at, xid)
			SELECT n * 7919 %% %[1]d, n / %[1]d + 1, 'message', 'El estado de su reporte ha cambiado a: Aprobado', repeat('x', 180), 1750000000000 + n, pg_current_xact_id()
			FROM generate_series(0::bigint, %[2]d) n`, l.users, *layoutRows-1))
	for _, x := range indexes {
		def := strings.Replace(x.Indexdef, " ON public.falcon_notifications", " ON falcon_notifications", 1)
		if strings.HasPrefix(def, "CREATE UNIQUE") && l.name != "one table" {
			// A unique index must contain the partition key.
			missing := map[string]string{"by time": "id", "by user": "user_id"}[l.name]
			if head, list, _ := strings.Cut(def, "("); !slices.Contains(strings.Split(strings.TrimSuffix(list, ")"), ", "), missing) {
				def = head + "(" + strings.TrimSuffix(list, ")") + ", " + missing + ")"
			}
		}
		name := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(def, "CREATE "), "UNIQUE "))[1]
		l.sql(b, strings.Replace(def, name, "new_"+name, 1))
	}
	l.sql(b, `CREATE TRIGGER touch AFTER DELETE ON falcon_notifications
		REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION falcon_touch()`, "VACUUM ANALYZE falcon_notifications", "VACUUM ANALYZE falcon_inboxes", "CHECKPOINT")
	b.ReportMetric(float64(l.number(b, "SELECT sum(pg_indexes_size(c.oid)) FROM pg_class c WHERE c.oid = 'falcon_notifications'::regclass OR c.relname LIKE 'part\\_%' AND c.relkind = 'r'"))/float64(*layoutRows), "index-B/row")
}

// cost runs f and returns the processor time that Postgres used, the bytes of write-ahead
// log that it wrote, and the elapsed time.
func (l *layouts) cost(b *testing.B, f func()) (used time.Duration, wal int64, took time.Duration) {
	b.Helper()
	l.sql(b, "CHECKPOINT") // so the full-page images after it count, as they do in production
	const position = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
	usedBefore, walBefore, begun := cpu(b, l.s.PID()), l.number(b, position), time.Now()
	f()
	took = time.Since(begun)
	return cpu(b, l.s.PID()) - usedBefore, l.number(b, position) - walBefore, took
}

func (l *layouts) report(b *testing.B, what string, n int, used time.Duration, wal int64, took time.Duration) {
	b.Helper()
	fmt.Printf("| %s, %d rows | %s | %d | %.1f µs | %.0f B | %.1f s |\n", l.name, *layoutRows, what, n,
		float64(used.Microseconds())/float64(max(n, 1)), float64(wal)/float64(max(n, 1)), took.Seconds())
}

// append measures appends to random users by 64 concurrent callers.
func (l *layouts) append(b *testing.B) {
	b.Helper()
	var n atomic.Int64
	used, wal, took := l.cost(b, func() {
		done := make(chan error)
		for range 64 {
			go func() {
				for n.Add(1) <= *layoutAppends {
					u := bridge.UserID(fmt.Sprint(rand.N(l.users)))
					if _, err := l.d.Append(context.Background(), bridge.Command{Drafts: []bridge.Draft{
						{User: u, Kind: bridge.KindMessage, Title: "El estado de su reporte ha cambiado", Message: strings.Repeat("m", 180)}}}); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 64 {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	})
	l.report(b, "append", int(*layoutAppends), used, wal, took)
}

// read measures reading the newest page of random users and random notifications by ID.
func (l *layouts) read(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	for what, read := range map[string]func() error{
		"page": func() error {
			_, err := l.d.List(ctx, bridge.Query{User: bridge.UserID(fmt.Sprint(rand.N(l.users))), Limit: 50})
			return err
		},
		"by id": func() error {
			_, err := l.d.Find(ctx, rand.N(int64(*layoutRows))+1)
			return err
		},
	} {
		const n = 3_000
		var took []time.Duration
		used, wal, all := l.cost(b, func() {
			for range n {
				begun := time.Now()
				if err := read(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
			}
		})
		slices.Sort(took)
		l.report(b, fmt.Sprintf("%s, p50 %.2f ms", what, took[n/2].Seconds()*1000), n, used, wal, all)
	}
}

// retain measures removing the oldest sixteenth and the vacuum after it.
func (l *layouts) retain(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	n, timeouts := 0, 0
	used, wal, took := l.cost(b, func() {
		for {
			var m int
			var err error
			if l.name == "by time" {
				m, err = l.countOff(ctx, int64(n))
			} else {
				m, err = l.d.Retain(ctx, time.UnixMilli(1750000000000+l.first), 500)
			}
			if errors.Is(err, bridge.ErrUnavailable) && timeouts < 10 {
				timeouts++ // like the maintenance, repeat a step that timed out on a busy machine
				continue
			}
			if err != nil {
				b.Fatal(err)
			}
			if n += m; m == 0 {
				break
			}
		}
		if l.name == "by time" {
			l.sql(b, "DROP TABLE part_0")
		}
	})
	if int64(n) != l.first {
		b.Fatalf("%d of %d rows are gone", n, l.first)
	}
	l.report(b, "retention", n, used, wal, took)
	used, wal, took = l.cost(b, func() { l.sql(b, "VACUUM falcon_notifications") })
	l.report(b, "vacuum of the table after it", n, used, wal, took)
	used, wal, took = l.cost(b, func() { l.sql(b, "VACUUM falcon_inboxes") })
	l.report(b, "vacuum of the inboxes after it", n, used, wal, took)
}

// countOff does what retention by time must do for each row before its partition is
// dropped, for up to 500 rows: what removeNotifications does, without the deletion.
func (l *layouts) countOff(ctx context.Context, after int64) (int, error) {
	var gone []notification
	if err := l.d.read.NewSelect().Model(&gone).ColumnExpr("id, user_id, seq, kind, created_at, by, read_at, hidden").
		Where("id > ?", after).Where("id <= ?", min(after+500, l.first)).Order("id").Scan(ctx); err != nil || len(gone) == 0 {
		return 0, err
	}
	users := make([]bridge.UserID, len(gone))
	stones := make([]tombstone, len(gone))
	for i, n := range gone {
		users[i] = n.UserID
		stones[i] = tombstone{ID: n.ID, UserID: n.UserID, Seq: n.Seq, Kind: n.Kind, Why: retainedOut, At: nowMillis(), CommittedAt: n.CreatedAt, By: n.By}
	}
	return len(gone), l.d.write.RunInTx(ctx, &sql.TxOptions{}, func(ctx context.Context, tx bun.Tx) error {
		var free []bridge.UserID
		if err := l.d.lockRows(tx.NewSelect().Model((*inbox)(nil)).Column("user_id").Where("i.user_id IN (?)", bun.List(users)).
			Order("i.user_id"), "NO KEY UPDATE SKIP LOCKED").Scan(ctx, &free); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&stones).Exec(ctx); err != nil {
			return err
		}
		return l.d.changeGone(ctx, tx, gone)
	})
}
