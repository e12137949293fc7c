package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// BenchmarkAppend appends notifications of about 300 bytes to 1,000 users, one per call,
// from 1, 32 and 128 concurrent callers.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 32, 128} {
		for _, name := range []string{"SQLite", "Postgres"} {
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) {
				url := filepath.Join(b.TempDir(), "falcon.db")
				servers := []int{os.Getpid()}
				if name == "Postgres" {
					s := testserver.NewPostgres(b)
					url, servers = s.URL, append(servers, s.PID())
				}
				d := openTest(b, Options{URL: url})
				message := strings.Repeat("m", 250)
				var n atomic.Int64
				append1 := func() error {
					u := bridge.UserID(fmt.Sprint(n.Add(1) * 7919 % 1000))
					_, err := d.Append(context.Background(), bridge.Command{Drafts: []bridge.Draft{
						{User: u, Kind: bridge.KindMessage, Title: "El estado de su reporte ha cambiado", Message: message}}})
					return err
				}
				var all []bridge.Draft
				for u := range 1000 {
					all = append(all, draft(bridge.UserID(fmt.Sprint(u)), "t"))
				}
				mustAppend(b, d, bridge.Command{Drafts: all}) // everybody has an inbox
				for range 100 {                               // let the plans be cached
					if err := append1(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				var before []time.Duration
				for _, pid := range servers {
					before = append(before, cpu(b, pid))
				}
				b.ResetTimer()
				done := make(chan error, callers)
				for c := range callers {
					go func() {
						for range (b.N + c) / callers {
							if err := append1(); err != nil {
								done <- err
								return
							}
						}
						done <- nil
					}()
				}
				for range callers {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
				for i, unit := range []string{"cpu-µs/op", "postgres-µs/op"}[:len(servers)] {
					b.ReportMetric(float64((cpu(b, servers[i])-before[i]).Microseconds())/float64(b.N), unit)
				}
			})
		}
	}
}

// cpu returns the processor time that a process and its children have used, including
// children that have ended, to 10 ms. Other load on the machine distorts it less than it
// distorts the elapsed time.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(b, err)
	var ticks int64
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		head, tail, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(tail) // from the third field of proc(5)'s stat on
		if len(fields) < 15 {
			continue
		}
		// Only user and system time here. Of the test process, the time of children that
		// have ended (cutime, cstime) does not count: they are initdb and the like.
		count := fields[11:13]
		switch self, _, _ := strings.Cut(head, " "); strconv.Itoa(pid) {
		case self:
			if pid != os.Getpid() {
				count = fields[11:15]
			}
		case fields[1]:
			if pid == os.Getpid() {
				continue
			}
		default:
			continue
		}
		for _, f := range count {
			n, err := strconv.ParseInt(f, 10, 64)
			must(b, err)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkAdvance moves the cursors of 1,000 devices per call, as a busy node's flush
// does. Each session has a history of the greatest length.
func BenchmarkAdvance(b *testing.B) {
	for _, name := range []string{"SQLite", "Postgres"} {
		b.Run(name, func(b *testing.B) {
			url := filepath.Join(b.TempDir(), "falcon.db")
			servers := []int{os.Getpid()}
			if name == "Postgres" {
				s := testserver.NewPostgres(b)
				url, servers = s.URL, append(servers, s.PID())
			}
			d := openTest(b, Options{URL: url})
			exec(b, d, "INSERT INTO falcon_inboxes (user_id, last_seq) WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 999) SELECT 'u' || n, 1000000 FROM c")
			as := make([]bridge.Advance, 1000)
			for i := range as {
				s := open(b, d, dev(bridge.UserID(fmt.Sprint("u", i)), "c"))
				as[i] = bridge.Advance{Device: dev(bridge.UserID(fmt.Sprint("u", i)), "c"), Generation: s.Generation}
			}
			advance := func() {
				for i := range as {
					as[i].Acked++
					as[i].Sent++
				}
				must(b, d.Advance(context.Background(), as))
			}
			for range 70 {
				advance()
			}
			wal := func() int64 {
				if d.dialect != Postgres {
					return 0
				}
				return number(b, d, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
			}
			var before []time.Duration
			for _, pid := range servers {
				before = append(before, cpu(b, pid))
			}
			from := wal()
			b.ResetTimer()
			for range b.N {
				advance()
			}
			b.StopTimer()
			for i, unit := range []string{"cpu-µs/cursor", "postgres-µs/cursor"}[:len(servers)] {
				b.ReportMetric(float64((cpu(b, servers[i])-before[i]).Microseconds())/float64(1000*b.N), unit)
			}
			b.ReportMetric(float64(wal()-from)/float64(1000*b.N), "wal-B/cursor")
		})
	}
}
