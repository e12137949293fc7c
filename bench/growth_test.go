package bench

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// each is the number of notifications of every user.
const each = 10

// BenchmarkGrowth measures what may depend on how much is stored, with more and more users of ten
// notifications each: the cost of a post, pages of history compared with the same query in
// psql, the first subscription of a device, and the start of a node.
func BenchmarkGrowth(b *testing.B) {
	once(b)
	s := signer(b)
	pg := testserver.NewPostgres(b, "max_wal_size=16GB", "maintenance_work_mem=1GB", "track_activity_query_size=16kB")
	if err := testserver.NewProgram(b, map[string]string{"FALCON_JWT_SECRET": secret, "DATABASE_URL": pg.URL}).Stop(); err != nil {
		b.Fatal(err) // it made the tables
	}
	c := newCurve("users", "What grows with the data: users of ten notifications each", "users")
	there := 0
	for _, n := range []int{1_000, 10_000, 100_000, *growth} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stock(b, pg.URL, there, n)
			there = n
			p := testserver.Prepare(b, map[string]string{"FALCON_JWT_SECRET": secret, "DATABASE_URL": pg.URL,
				"FALCON_CONNECT_RATE_PER_IP": "off", "FALCON_REQUEST_RATE_PER_USER": "off"})
			begun := time.Now()
			if err := p.Start(); err != nil {
				b.Fatal(err)
			}
			start := time.Since(begun)
			t := target(b, s, p.HTTP+"/notifications", "mqtt://"+p.MQTT, p.PID())
			var posts []bench.PostResult
			var costs []float64
			for range *rounds {
				res, cost := spent(b, pg.PID(), func() bench.PostResult {
					return loaded(b, bench.Post{Posters: 64, Users: n, Devices: 0, Size: 300}, t)
				})
				posts, costs = append(posts, res), append(costs, cost)
			}
			slices.Sort(costs)
			psql(b, pg.URL, "VACUUM ANALYZE falcon_notifications", "CHECKPOINT") // otherwise they would run during the reads
			var byREST, bySQL []float64
			for range 4 { // alternately
				byREST = append(byREST, pages(b, s, p, n)...)
				bySQL = append(bySQL, pagesBySQL(b, pg.URL, n)...)
			}
			page, sql := percentiles(byREST), percentiles(bySQL)
			login, err := bench.Connect{Workers: 1, Users: n, Subscribe: true, Max: 2_000, Duration: 10 * time.Second}.Run(b.Context(), t)
			if err != nil {
				b.Fatal(err)
			}
			c.add(b, float64(n), map[string]float64{
				"server CPU, µs a post":                      median(posts, func(r bench.PostResult) float64 { return r.CPU.Server }).CPU.Server,
				"Postgres CPU, µs a post":                    costs[len(costs)/2],
				"page of history, p99 ms":                    page.p99,
				"page of history, p50 ms":                    page.p50,
				"the same query by psql, p99 ms":             sql.p99,
				"the same query by psql, p50 ms":             sql.p50,
				"login and first subscription, p50 ms":       login.Latency.P50,
				"start of a node until it is ready, seconds": start.Seconds(),
			})
			if err := p.Stop(); err != nil {
				b.Error(err)
			}
		})
	}
	c.save(b)
}

// psql runs statements.
func psql(b *testing.B, url string, statements ...string) string {
	b.Helper()
	args := []string{"-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", url}
	for _, s := range statements {
		args = append(args, "-c", s)
	}
	out, err := exec.Command("psql", args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// stock adds the users from from to to and their notifications, interleaved on disk as if they
// had been appended over years: the first of every user, then the second of every user, and
// so on.
func stock(b *testing.B, url string, from, to int) {
	b.Helper()
	psql(b, url,
		fmt.Sprintf("INSERT INTO falcon_inboxes (user_id, last_seq, total, unread) SELECT 'bench-' || u, %d, %d, %d FROM generate_series(%d, %d) u", each, each, each, from, to-1),
		fmt.Sprintf(`INSERT INTO falcon_notifications (user_id, seq, kind, title, message, created_at, xid)
			SELECT 'bench-' || u, s, 'message', 'El estado de su reporte ha cambiado a: Aprobado', repeat('x', 180), 1750000000000 + s, pg_current_xact_id()
			FROM generate_series(1, %d) s, generate_series(%d, %d) u`, each, from, to-1),
		"VACUUM ANALYZE falcon_inboxes", "VACUUM ANALYZE falcon_notifications", "CHECKPOINT")
}

type took struct{ p50, p99 float64 } // ms

func percentiles(ms []float64) took {
	slices.Sort(ms)
	return took{ms[len(ms)/2], ms[len(ms)*99/100]}
}

const reads = 1_000

// pages lets random users read the newest page of their own history, one after the other, and
// returns how many milliseconds each took. A page of another user's history also costs an entry
// in the audit log.
func pages(b *testing.B, s *token.Signer, p *testserver.Program, users int) (ms []float64) {
	b.Helper()
	for range reads {
		user := bridge.UserID(fmt.Sprintf("bench-%d", rand.N(users)))
		bearer, err := s.Sign(bridge.Claims{User: user, ExpiresAt: time.Now().Add(time.Hour)})
		if err != nil {
			b.Fatal(err)
		}
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, p.HTTP+"/notifications?limit=50", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		begun := time.Now()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		ms = append(ms, float64(time.Since(begun).Microseconds())/1000)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"seq":`) {
			b.Fatalf("%s, %v: %.200s", res.Status, err, body)
		}
	}
	return ms
}

// pagesBySQL runs and times in psql, for other users, the statement that the server last sent for
// a page.
func pagesBySQL(b *testing.B, url string, users int) (ms []float64) {
	b.Helper()
	statement := strings.TrimSpace(psql(b, url, `SELECT query FROM pg_stat_activity WHERE query LIKE 'WITH "own"%"edge"%' ORDER BY query_start DESC LIMIT 1`))
	user := regexp.MustCompile(`'bench-\d+'`)
	if !user.MatchString(statement) || !strings.Contains(statement, " LIMIT 51") {
		b.Fatalf("not the statement of a page: %.300s", statement)
	}
	var script strings.Builder
	script.WriteString("\\timing on\n")
	for range reads {
		fmt.Fprintf(&script, "%s;\n", user.ReplaceAllString(statement, fmt.Sprintf("'bench-%d'", rand.N(users))))
	}
	cmd := exec.Command("psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", url)
	cmd.Stdin = strings.NewReader(script.String())
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("psql: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(line, "Time: "); ok {
			n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			ms = append(ms, n)
		}
	}
	if len(ms) != reads {
		b.Fatalf("psql timed %d of %d queries", len(ms), reads)
	}
	return ms
}

// BenchmarkPayload measures the cost of a notification as its body grows.
func BenchmarkPayload(b *testing.B) {
	once(b)
	s := signer(b)
	pg := testserver.NewPostgres(b)
	p := falconbridge(b, s, pg.URL)
	c := newCurve("payload", "A notification, as its body grows", "bytes of the body")
	for _, size := range []int{160, 300, 1_000, 4_000, 8_000, 16_000} {
		var rs []bench.PostResult
		var costs []float64
		for range *rounds {
			rs = append(rs, loaded(b, bench.Post{Posters: 64, Users: 1_000, Devices: 1, Size: size}, p.target))
			// Without devices, because their logins would count as well.
			_, cost := spent(b, pg.PID(), func() bench.PostResult {
				return loaded(b, bench.Post{Posters: 64, Users: 1_000, Devices: 0, Size: size}, p.target)
			})
			costs = append(costs, cost)
		}
		slices.Sort(costs)
		r := median(rs, func(r bench.PostResult) float64 { return r.PerSecond })
		c.add(b, float64(size), map[string]float64{
			"server CPU, µs a notification":   r.CPU.Server,
			"Postgres CPU, µs a notification": costs[len(costs)/2],
			"notifications a second":          r.PerSecond,
		})
	}
	c.save(b)
}
