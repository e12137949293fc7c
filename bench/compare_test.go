package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// Duration and load. The figures in docs/performance.md were measured with the defaults.
var (
	rounds      = flag.Int("bench.rounds", 2, "turns of every peer; the table has their mean")
	seconds     = flag.Int("bench.seconds", 5, "length of every measurement")
	users       = flag.Int("bench.users", 1000, "users, one device each")
	rate        = flag.Int("bench.rate", 1000, "posts a second where latency is measured")
	connections = flag.Int("bench.connections", 5000, "idle connections where memory is measured")
	parts       = flag.String("bench.parts", "post,idle,connect,replay", "what to measure")
	file        = flag.String("bench.json", "", "where to write every measurement, too")
)

// row has the measurements of one peer.
type row struct {
	Peer    string                `json:"peer"`
	K32     []bench.PostResult    `json:"k32,omitempty"`
	K128    []bench.PostResult    `json:"k128,omitempty"`
	Rate    []bench.PostResult    `json:"rate,omitempty"`
	WS      []bench.PostResult    `json:"websocket,omitempty"`
	Idle    *bench.IdleResult     `json:"idle,omitempty"`
	IdleWS  *bench.IdleResult     `json:"idle_websocket,omitempty"`
	Connect []bench.ConnectResult `json:"connect,omitempty"`
	Replay  *bench.ReplayResult   `json:"replay,omitempty"`
}

// result is the whole run.
type result struct {
	When     time.Time `json:"when"`
	Load     string    `json:"load_average"` // before and after
	Rows     []*row    `json:"rows"`
	PlainRow []float64 `json:"pgbench_plain,omitempty"`
	SeqRow   []float64 `json:"pgbench_seq,omitempty"`
}

// The generator shares the cores with what it measures. With the default of 100, its garbage
// collector ran once a second and made every peer's notifications wait for up to 10 ms.
func init() { debug.SetGCPercent(400) }

// BenchmarkPeers starts all peers once and measures them alternately. One iteration is the whole
// comparison.
func BenchmarkPeers(b *testing.B) {
	if b.N > 1 {
		b.Fatal("run it with -benchtime 1x: one iteration takes minutes")
	}
	s := signer(b)
	pg := testserver.NewPostgres(b, "shared_buffers=512MB", "max_wal_size=4GB") // as one would for 10,000 rows a second, for all peers
	r := &result{When: time.Now(), Load: loadAverage()}
	pgb := newPgbench(b, pg)
	all := func() []peer {
		return []peer{falconbridge(b, s, pg.URL), nest(b, s, pg.URL), insertThenPublish(b, s, pg.URL), bare(b, s), mosquitto(b, s)}
	}
	b.ResetTimer()
	peers := all()
	for _, p := range peers {
		r.Rows = append(r.Rows, &row{Peer: p.name})
	}
	if has("idle") {
		r.idle(b, peers, falconbridge(b, s, pg.URL))
		peers = all() // in new processes, because memory that was used before would be used again
	}
	for range *rounds {
		for i, p := range peers {
			r.Rows[i].measure(b, p)
		}
		if has("post") {
			r.PlainRow = append(r.PlainRow, pgb.run(b, plainRow, 32, *seconds))
			r.SeqRow = append(r.SeqRow, pgb.run(b, seqRow, 32, *seconds))
		}
	}
	if has("replay") {
		r.Rows[0].replay(b, peers[0])
	}
	b.StopTimer()
	r.Load += " → " + loadAverage()
	fmt.Print(r.table())
	if *file != "" {
		out, err := json.MarshalIndent(r, "", " ")
		if err == nil {
			err = os.WriteFile(*file, out, 0o600)
		}
		if err != nil {
			b.Error(err)
		}
	}
}

func loadAverage() string {
	var one string
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(raw), &one)
	}
	return one
}

// measure does one round of measurements of p.
func (r *row) measure(b *testing.B, p peer) {
	if p.target == nil {
		return
	}
	load := bench.Post{Users: *users, Devices: 1, Size: 300, Duration: time.Duration(*seconds) * time.Second,
		Warm: time.Second, Max: 3_000_000, Connect: time.Minute, Grace: 5 * time.Second}
	if p.only == "answers" {
		load.Devices = 0
	}
	post := func(t *bench.Target, posters, rate int) []bench.PostResult {
		load.Posters, load.Rate = posters, rate
		res, err := load.Run(b.Context(), t)
		if err == nil {
			err = res.Fault()
		}
		if err != nil {
			b.Errorf("%s, %d posters: %v", p.name, posters, err)
			return nil
		}
		return []bench.PostResult{res}
	}
	if has("post") {
		r.K32 = append(r.K32, post(p.target, 32, 0)...)
		r.K128 = append(r.K128, post(p.target, 128, 0)...)
		r.Rate = append(r.Rate, post(p.target, 32, *rate)...)
		if p.ws != nil {
			r.WS = append(r.WS, post(p.ws, 128, 0)...)
		}
	}
	if has("connect") && p.only != "answers" {
		res, err := bench.Connect{Workers: 16, Users: *users, Max: 20_000, Duration: time.Duration(*seconds) * time.Second}.Run(b.Context(), p.target)
		if err == nil {
			err = res.Fault()
		}
		if err != nil {
			b.Errorf("%s, logins: %v", p.name, err)
			return
		}
		r.Connect = append(r.Connect, res)
	}
}

// idle measures the memory of idle connections, in processes that have done nothing else, and
// stops them.
func (r *result) idle(b *testing.B, peers []peer, other peer) {
	hold := func(name string, t *bench.Target) *bench.IdleResult {
		res, err := bench.Idle{Connections: *connections, Waves: 2, Settle: 3 * time.Second, Connect: 2 * time.Minute}.Run(b.Context(), t)
		if err == nil {
			err = res.Fault()
		}
		if err != nil {
			b.Errorf("%s, idle: %v", name, err)
			return nil
		}
		return &res
	}
	r.Rows[0].IdleWS = hold(other.name, other.ws)
	for i, p := range append(peers, other) {
		if p.target == nil {
			continue
		}
		if p.only != "answers" && i < len(peers) {
			r.Rows[i].Idle = hold(p.name, p.target)
		}
		if err := p.stop(); err != nil {
			b.Errorf("stop %s: %v", p.name, err)
		}
	}
}

func (r *row) replay(b *testing.B, p peer) {
	res, err := bench.Replay{Devices: 20, Missed: 1000, Size: 300, Connect: time.Minute, Limit: time.Minute}.Run(b.Context(), p.target)
	if err == nil {
		err = res.Fault()
	}
	if err != nil {
		b.Errorf("%s, replay: %v", p.name, err)
		return
	}
	r.Replay = &res
}
