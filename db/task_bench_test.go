package db

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// BenchmarkSteps marks 500,000 notifications of one user as read and then erases the user,
// while 100 notifications per second are appended to other users and 10 per second to this
// one. It reports how long each phase took, and the 99th percentile and the maximum of the
// appends' latency in ms, before and during each. Run it with -benchtime 1x.
func BenchmarkSteps(b *testing.B) {
	const rows = 500_000
	const u = bridge.UserID("big")
	for _, name := range []string{"SQLite", "Postgres"} {
		b.Run(name, func(b *testing.B) {
			url, series, xid := filepath.Join(b.TempDir(), "falcon.db"), "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < %d) ", ""
			if name == "Postgres" {
				url, series, xid = testserver.NewPostgres(b).URL, "WITH g AS (SELECT generate_series(1, %d) AS i) ", ", pg_current_xact_id()"
			}
			d := openTest(b, Options{URL: url})
			columns := "user_id, seq, kind, title, message, created_at"
			if xid != "" {
				columns += ", xid"
			}
			const part = 50_000 // more rows would exceed the driver's time limit for a statement
			for from := 0; from < rows; from += part {
				exec(b, d, fmt.Sprintf("INSERT INTO falcon_notifications (%s) "+series+"SELECT 'big', %d + i, 'message', 'A title', '%0250d', 1%s FROM g", columns, part, from, 0, xid))
			}
			exec(b, d, "INSERT INTO falcon_inboxes (user_id, last_seq, total, unread) VALUES ('big', ?0, ?0, ?0)", rows)
			for i := range 100 {
				mustAppend(b, d, one(bridge.UserID(fmt.Sprint(i)), "t"))
			}
			for what, do := range []func(){
				nil,
				func() {
					if unread, done, err := d.ReadUpTo(context.Background(), u, rows); err != nil || !done {
						b.Errorf("%d unread, done %v, %v", unread, done, err)
					}
				},
				func() {
					if done, err := d.Erase(context.Background(), u); err != nil || !done {
						b.Errorf("erased %v, %v", done, err)
					}
				},
			} {
				others, same, took := appendsWhile(b, d, u, do)
				phase := []string{"before", "read", "erase"}[what]
				b.ReportMetric(took.Seconds(), phase+"-s")
				for who, waits := range map[string][]time.Duration{"others": others, "own": same} {
					slices.Sort(waits)
					b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, phase+"-"+who+"-p99-ms")
					b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, phase+"-"+who+"-max-ms")
				}
			}
			checkCounts(b, d, u)
		})
	}
}

// appendsWhile appends at a constant rate until do returns, or for 1,000 users if do is nil. It
// returns the latency of each append to other users and to u, counted from when it was due, and
// how long do or the appends took.
func appendsWhile(b *testing.B, d *DB, u bridge.UserID, do func()) (others, same []time.Duration, took time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	var running sync.WaitGroup
	running.Go(func() {
		due := time.NewTicker(10 * time.Millisecond)
		defer due.Stop()
		for i := 0; ctx.Err() == nil && (do != nil || i < 1000); i++ {
			at := <-due.C
			to := []bridge.UserID{bridge.UserID(fmt.Sprint(i % 100))}
			if i%10 == 0 {
				to = append(to, u)
			}
			for _, to := range to {
				running.Go(func() {
					if _, err := d.Append(context.Background(), one(to, "t")); err != nil {
						b.Errorf("append to %s: %v", to, err)
					}
					mu.Lock()
					defer mu.Unlock()
					if to == u {
						same = append(same, time.Since(at))
					} else {
						others = append(others, time.Since(at))
					}
				})
			}
		}
	})
	begun := time.Now()
	if do != nil {
		do()
		took = time.Since(begun)
		cancel()
	}
	running.Wait()
	if do == nil {
		took = time.Since(begun)
	}
	return others, same, took
}
