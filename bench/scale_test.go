package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/testserver"
)

var (
	scaled    = flag.Int("bench.scale", 1_000_000, "users, with a session and ten notifications each, of BenchmarkScale")
	many      = flag.Int("bench.many", 500_000, "rows of the one user whose inbox is marked read and erased")
	returning = flag.Int("bench.returning", 15_000, "devices of a node that all lose it and come back")
)

// scale is a large database, with a load of other users that continues while something is
// measured.
type scale struct {
	s   *token.Signer
	pg  *testserver.PostgresServer
	env map[string]string
}

// grown builds the database: bench.scale users, each with a session and ten notifications.
func grown(b *testing.B) *scale {
	b.Helper()
	x := &scale{s: signer(b), pg: testserver.NewPostgres(b, "max_wal_size=16GB", "maintenance_work_mem=1GB", "shared_buffers=512MB", "track_activity_query_size=16kB")}
	x.env = map[string]string{"FALCON_JWT_SECRET": secret, "DATABASE_URL": x.pg.URL,
		"FALCON_CONNECT_RATE_PER_IP": "off", "FALCON_REQUEST_RATE_PER_USER": "off"}
	if err := testserver.NewProgram(b, x.env).Stop(); err != nil {
		b.Fatal(err) // it made the tables
	}
	begun := time.Now()
	stock(b, x.pg.URL, 0, *scaled)
	psql(b, x.pg.URL, fmt.Sprintf(`INSERT INTO falcon_sessions (user_id, client_id, generation, expiry_ms, expires_at, used_at, subscribed, qos, acked_seq, sent_seq)
		SELECT 'bench-' || u, 'phone', 0, 604800000, (extract(epoch FROM now()) * 1000)::bigint + 604800000, 1750000000000, true, 1, %d, %d
		FROM generate_series(0, %d) u`, each, each, *scaled-1), "VACUUM ANALYZE falcon_sessions", "CHECKPOINT")
	b.Logf("built in %v", time.Since(begun).Round(time.Second))
	return x
}

// BenchmarkScale builds a database of one million users, one million sessions and ten million
// notifications, and then does large operations on it. It measures how long each takes, and
// the 99th percentile from POST to device of a thousand other users meanwhile, at bench.rate
// posts a second. It prints the rows of the table in docs/scaling.md.
func BenchmarkScale(b *testing.B) {
	once(b)
	x := grown(b)
	fmt.Printf("\n%s, load average %s, %d users, %d sessions, %d notifications\n\n| | takes | others' p99 ms, post to device | |\n| --- | --- | --- | --- |\n",
		time.Now().Format("2006-01-02 15:04"), loadAverage(), *scaled, *scaled, *scaled*each)

	p := x.start(b)
	x.row(b, "start of a node until it is ready", x.timed(func() { x.restart(b, p) }), bench.PostResult{}, "")
	calm, _ := x.during(b, p, func() { x.wait(b, 10*time.Second) })
	x.row(b, "at rest", 0, calm, "")

	other := x.start(b)
	res, took := x.during(b, p, func() { x.restart(b, other) })
	x.row(b, "restart of another node", took, res, "")

	res, took = x.during(b, p, func() {
		returns(b, other, *returning, 2_000)
	})
	x.row(b, fmt.Sprintf("%d devices of another node connect, are cut off and come back", *returning), took, res, "")

	x.epoch(b, p, other)
	x.transaction(b, p)
	x.oneUser(b, p, other)
	x.retention(b, p)
	x.relay(b, p)

	x.pages(b, p)
}

// BenchmarkPages compares a page of history over REST with psql's time for the same
// statement, among as many notifications as BenchmarkScale has.
func BenchmarkPages(b *testing.B) {
	once(b)
	x := grown(b)
	x.pages(b, x.start(b))
}

func (x *scale) pages(b *testing.B, p *testserver.Program) {
	b.Helper()
	var byREST, bySQL []float64
	for range 4 { // alternately
		byREST = append(byREST, pages(b, x.s, p, *scaled)...)
		bySQL = append(bySQL, pagesBySQL(b, x.pg.URL, *scaled)...)
	}
	page, sql := percentiles(byREST), percentiles(bySQL)
	fmt.Printf("| a page of history | p50 %.2f ms, p99 %.2f ms | – | psql: p50 %.2f, p99 %.2f |\n", page.p50, page.p99, sql.p50, sql.p99)
}

// epoch changes the mark of the database while both nodes run, as if another server had been
// promoted.
func (x *scale) epoch(b *testing.B, nodes ...*testserver.Program) {
	b.Helper()
	updated := func() string {
		return strings.TrimSpace(psql(b, x.pg.URL, "SELECT sum(n_tup_upd) FROM pg_stat_user_tables WHERE relname IN ('falcon_notifications')"))
	}
	before, name := updated(), x.header(b, nodes[0], "X-Epoch")
	// Connections end with the epoch, so the time counts from when a post was due to its 201.
	res, took := x.load(b, nodes[0], 0, func() {
		psql(b, x.pg.URL, "UPDATE falcon_meta SET value = 'another server' WHERE key = 'mark'")
		for _, p := range nodes {
			testserver.Eventually(b, time.Minute, func() error {
				if x.header(b, p, "X-Epoch") == name {
					return fmt.Errorf("the epoch is still %s", name)
				}
				return nil
			})
		}
	})
	x.row(b, "promotion: both nodes serve in the new epoch", took, res, fmt.Sprintf("rows of notifications rewritten: %s before, %s after", before, updated()))
}

// transaction keeps a transaction open while others post, and then one user gets twenty thousand
// notifications.
func (x *scale) transaction(b *testing.B, p *testserver.Program) {
	b.Helper()
	end := hanging(b, x.pg.URL)
	res, took := x.during(b, p, func() { x.wait(b, 20*time.Second) })
	x.row(b, "a transaction of the cluster stays open", took, res, "")
	t := target(b, x.s, p.HTTP+"/notifications", "mqtt://"+p.MQTT, p.PID())
	one, err := bench.Post{Posters: 32, Users: 1, Devices: 0, Size: 300, Duration: 2 * time.Minute, Warm: time.Second, Max: 20_000,
		Connect: time.Minute, Grace: time.Second}.Run(b.Context(), t)
	if err != nil {
		b.Fatal(err)
	}
	x.row(b, "20,000 posts to one user meanwhile", time.Duration(one.Seconds*float64(time.Second)), bench.PostResult{}, fmt.Sprintf("%.0f a second", one.PerSecond))
	end()
	if one, err = (bench.Post{Posters: 32, Users: 1, Devices: 0, Size: 300, Duration: 2 * time.Minute, Warm: time.Second, Max: 20_000,
		Connect: time.Minute, Grace: time.Second}).Run(b.Context(), t); err != nil {
		b.Fatal(err)
	}
	x.row(b, "the same without it", time.Duration(one.Seconds*float64(time.Second)), bench.PostResult{}, fmt.Sprintf("%.0f a second", one.PerSecond))
}

// oneUser marks everything of one user as read, and erases the user.
func (x *scale) oneUser(b *testing.B, p, by *testserver.Program) {
	b.Helper()
	psql(b, x.pg.URL, fmt.Sprintf("INSERT INTO falcon_inboxes (user_id, last_seq, total, unread) VALUES ('many', %[1]d, %[1]d, %[1]d)", *many),
		fmt.Sprintf(`INSERT INTO falcon_notifications (user_id, seq, kind, title, message, created_at, xid)
			SELECT 'many', s, 'message', 'El estado de su reporte ha cambiado a: Aprobado', repeat('x', 180), 1760000000000 + s, pg_current_xact_id()
			FROM generate_series(1, %d) s`, *many), "VACUUM ANALYZE falcon_notifications", "CHECKPOINT")
	res, took := x.during(b, p, func() { x.call(b, by, "many", 0, http.MethodPost, "/notifications/read") })
	x.row(b, fmt.Sprintf("read all, %d rows", *many), took, res, "")
	res, took = x.during(b, p, func() { x.call(b, by, "ops", bridge.ScopeAdmin, http.MethodDelete, "/admin/users/many") })
	x.row(b, fmt.Sprintf("erase a user of %d rows", *many), took, res, "")
}

// retention makes a node delete the oldest tenth, the first notification of every user.
func (x *scale) retention(b *testing.B, p *testserver.Program) {
	b.Helper()
	left := func() string {
		return strings.TrimSpace(psql(b, x.pg.URL, "SELECT count(*) FROM falcon_notifications WHERE id <= (SELECT min(id) FROM falcon_notifications WHERE seq = 2 AND user_id = 'bench-0')"))
	}
	env := maps.Clone(x.env)
	env["FALCON_RETENTION"] = fmt.Sprint(time.Since(time.UnixMilli(1750000000002)).Round(time.Second))
	begun := left()
	var q *testserver.Program
	res, took := x.during(b, p, func() {
		q = testserver.NewProgram(b, env)
		testserver.Eventually(b, 20*time.Minute, func() error {
			x.wait(b, 2*time.Second)
			if n := left(); n != "0" && n != "1" {
				return fmt.Errorf("%s rows are left", n)
			}
			return nil
		})
	})
	x.row(b, "retention of "+begun+" rows", took, res, "")
	if err := q.Stop(); err != nil {
		b.Error(err)
	}
}

// relay makes a node publish the latest notification of every user, as a relay does when it is
// first started, and then what was posted while it was stopped.
func (x *scale) relay(b *testing.B, p *testserver.Program) {
	b.Helper()
	m := testserver.NewMosquitto(b, "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
	env := maps.Clone(x.env)
	env["FALCON_RELAY_URL"] = m.URL
	q := testserver.Prepare(b, env)
	published := func(n uint64) func() {
		return func() {
			if err := q.Start(); err != nil {
				b.Fatal(err)
			}
			testserver.Eventually(b, 20*time.Minute, func() error {
				got, err := figure(q, "falconbridge_relay_published_total")
				if err == nil && uint64(got) < n {
					err = fmt.Errorf("%d of %d are published", got, n)
				}
				return err
			})
		}
	}
	res, took := x.during(b, p, published(uint64(*scaled)))
	x.row(b, fmt.Sprintf("a relay's first start: %d retained messages", *scaled), took, res, fmt.Sprintf("%.0f a second", float64(*scaled)/took.Seconds()))
	if err := q.Stop(); err != nil {
		b.Fatal(err)
	}
	t := target(b, x.s, p.HTTP+"/notifications", "mqtt://"+p.MQTT, p.PID())
	missed, err := bench.Post{Posters: 64, Users: 1_000, Devices: 0, Size: 300, Duration: 30 * time.Second, Max: 200_000,
		Connect: time.Minute, Grace: time.Second}.Run(b.Context(), t)
	if err != nil {
		b.Fatal(err)
	}
	res, took = x.during(b, p, published(missed.Posts))
	x.row(b, fmt.Sprintf("a relay catches up with %d notifications", missed.Posts), took, res, fmt.Sprintf("%.0f a second", float64(missed.Posts)/took.Seconds()))
}

// hanging opens a transaction with a transaction id, like an application that forgot about it,
// and returns a function that ends it.
func hanging(b *testing.B, url string) (end func()) {
	b.Helper()
	const open = "FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)' AND backend_xid IS NOT NULL"
	cmd := exec.Command("psql", "-X", "-q", "-d", url, "-c", "SELECT pg_current_xact_id(); SELECT pg_sleep(3600)")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		psql(b, url, "SELECT pg_terminate_backend(pid) "+open)
		_ = cmd.Wait()
	})
	b.Cleanup(end)
	testserver.Eventually(b, 30*time.Second, func() error {
		if n := strings.TrimSpace(psql(b, url, "SELECT count(*) "+open)); n != "1" {
			return fmt.Errorf("%s transactions are open", n)
		}
		return nil
	})
	return end
}

func (x *scale) start(b *testing.B) *testserver.Program {
	b.Helper()
	return testserver.NewProgram(b, x.env)
}

func (x *scale) restart(b *testing.B, p *testserver.Program) {
	b.Helper()
	if err := p.Stop(); err != nil {
		b.Fatal(err)
	}
	if err := p.Start(); err != nil {
		b.Fatal(err)
	}
}

func (x *scale) timed(f func()) time.Duration {
	begun := time.Now()
	f()
	return time.Since(begun)
}

// wait lets d pass.
func (x *scale) wait(b *testing.B, d time.Duration) {
	b.Helper()
	select {
	case <-time.After(d):
	case <-b.Context().Done():
	}
}

// during runs f while other users' notifications are posted at p. It returns the result of that
// load, and how long f took.
func (x *scale) during(b *testing.B, p *testserver.Program, f func()) (bench.PostResult, time.Duration) {
	b.Helper()
	return x.load(b, p, 1, f)
}

// load is during with that many devices for each user. Without devices, a notification counts as
// delivered with the 201.
func (x *scale) load(b *testing.B, p *testserver.Program, devices int, f func()) (bench.PostResult, time.Duration) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var res bench.PostResult
	var err error
	var wg sync.WaitGroup
	t := target(b, x.s, p.HTTP+"/notifications", "mqtt://"+p.MQTT, p.PID())
	wg.Go(func() {
		// With 32 posters, posts that take longer than 32 ms would wait for a poster.
		res, err = bench.Post{Posters: 256, Users: 1_000, Devices: devices, Size: 300, Rate: *rate, Duration: 20 * time.Minute, Warm: 2 * time.Second,
			Max: 2_000_000, Connect: time.Minute, Grace: 10 * time.Second}.Run(ctx, t)
	})
	testserver.Eventually(b, time.Minute, func() error {
		n, err := figure(p, "falconbridge_connections")
		if err == nil && n < 1_000*devices {
			err = fmt.Errorf("%d devices are connected", n)
		}
		return err
	})
	x.wait(b, 3*time.Second) // until after the warm-up
	took := x.timed(f)
	x.wait(b, 2*time.Second)
	cancel()
	wg.Wait()
	if err == nil && devices > 0 {
		err = res.Fault()
	}
	if err != nil {
		b.Error(err)
	}
	if devices == 0 {
		res.Delivered = res.Answer
	}
	return res, took
}

func (x *scale) row(b *testing.B, what string, took time.Duration, others bench.PostResult, note string) {
	b.Helper()
	p99, length := "–", "–"
	if others.Delivered.Count > 0 {
		p99 = fmt.Sprintf("%.1f (longest %.0f)", others.Delivered.P99, others.Delivered.Max)
	}
	if took > 0 {
		length = fmt.Sprintf("%.1f s", took.Seconds())
	}
	fmt.Printf("| %s | %s | %s | %s |\n", what, length, p99, note)
}

// call sends one request as user, which must succeed.
func (x *scale) call(b *testing.B, p *testserver.Program, user bridge.UserID, scope bridge.Scope, method, path string) *http.Response {
	b.Helper()
	bearer, err := x.s.Sign(bridge.Claims{User: user, Scope: scope, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		b.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.Context(), method, p.HTTP+path, http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		b.Fatalf("%s %s: %s %.200s", method, path, res.Status, body)
	}
	return res
}

func (x *scale) header(b *testing.B, p *testserver.Program, name string) string {
	b.Helper()
	return x.call(b, p, "bench-0", 0, http.MethodGet, "/notifications?limit=1").Header.Get(name)
}
