package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/bench"
)

// has reports whether a part is selected by -bench.parts.
func has(part string) bool { return slices.Contains(strings.Split(*parts, ","), part) }

// mean returns the mean of a figure of rs, or 0 if rs is empty.
func mean[R any](rs []R, of func(R) float64) float64 {
	sum := 0.0
	for _, r := range rs {
		sum += of(r)
	}
	return sum / float64(max(1, len(rs)))
}

func perSecond(r bench.PostResult) float64 {
	if r.Devices == 0 {
		return r.PerSecond
	}
	return r.Deliveries
}

func latency(r bench.PostResult) bench.Latency {
	if r.Devices == 0 {
		return r.Answer
	}
	return r.Delivered
}

// table returns the run as a Markdown table. Ratios are to the first row.
func (r *result) table() string {
	var w strings.Builder
	first := r.Rows[0]
	ratio := func(of, to float64) string {
		if to == 0 || of == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", of/to)
	}
	number := func(n float64) string {
		if n == 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f", n)
	}
	fmt.Fprintf(&w, "\n%s, load average %s, %d rounds of %d s, %d users with a device each, bodies of 300 B\n",
		r.When.UTC().Format("2006-01-02 15:04"), r.Load, *rounds, *seconds, *users)
	fmt.Fprintf(&w, "\n| POST to device | K=32 /s | ratio | K=128 /s | ratio | p50 ms at %d/s | ratio | p99 ms | ratio | CPU µs, server + generator |\n| --- |%s\n",
		*rate, strings.Repeat(" --- |", 9))
	k := func(of []bench.PostResult) float64 { return mean(of, perSecond) }
	p50 := func(x *row) float64 { return mean(x.Rate, func(r bench.PostResult) float64 { return latency(r).P50 }) }
	p99 := func(x *row) float64 { return mean(x.Rate, func(r bench.PostResult) float64 { return latency(r).P99 }) }
	for _, x := range r.Rows {
		fmt.Fprintf(&w, "| %s | %s | %s | %s | %s | %.2f | %s | %.2f | %s | %.0f + %.0f |\n", x.Peer,
			number(k(x.K32)), ratio(k(x.K32), k(first.K32)), number(k(x.K128)), ratio(k(x.K128), k(first.K128)),
			p50(x), ratio(p50(x), p50(first)), p99(x), ratio(p99(x), p99(first)),
			mean(x.K128, func(r bench.PostResult) float64 { return r.CPU.Server }),
			mean(x.K128, func(r bench.PostResult) float64 { return r.CPU.Generator }))
	}
	self := func(f float64) float64 { return f }
	for _, x := range []struct {
		name string
		rows []float64
	}{{"pgbench, one row a transaction", r.PlainRow}, {"pgbench, one row with its seq", r.SeqRow}} {
		fmt.Fprintf(&w, "| %s | %s | %s | – | – | – | – | – | – | – |\n", x.name, number(mean(x.rows, self)), ratio(mean(x.rows, self), k(first.K32)))
	}
	fmt.Fprintf(&w, "| falconbridge, devices over WebSocket | – | – | %s | %s | – | – | – | – | – |\n", number(k(first.WS)), ratio(k(first.WS), k(first.K128)))
	r.connections(&w)
	if p := first.Replay; p != nil {
		fmt.Fprintf(&w, "\n%d devices return after %d missed: %.0f replayed a second\n", p.Devices, p.Missed, p.PerSecond)
	}
	return w.String()
}

func (r *result) connections(w *strings.Builder) {
	fmt.Fprintf(w, "\n| %d connections | KiB each | second wave, held | KiB each over WebSocket | logins /s | CPU µs a login |\n| --- | --- | --- | --- | --- | --- |\n", *connections)
	for _, x := range r.Rows {
		if x.Idle == nil && len(x.Connect) == 0 {
			continue
		}
		each, second, ws := "–", "–", "–"
		if i := x.Idle; i != nil && len(i.Waves) > 1 {
			each = fmt.Sprintf("%.1f", i.Waves[0].PerConnection)
			second = fmt.Sprintf("%.2f of the first", float64(i.Waves[1].Held)/float64(i.Waves[0].Held))
		}
		if i := x.IdleWS; i != nil && len(i.Waves) > 0 {
			ws = fmt.Sprintf("%.1f", i.Waves[0].PerConnection)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %.0f |\n", x.Peer, each, second, ws,
			mean(x.Connect, func(r bench.ConnectResult) float64 { return r.PerSecond }),
			mean(x.Connect, func(r bench.ConnectResult) float64 { return r.CPU.Server }))
	}
}

func TestTheTableHasRatiosToTheFirstRow(t *testing.T) {
	post := func(n float64) []bench.PostResult {
		return []bench.PostResult{{Devices: 1, Deliveries: n / 2, Delivered: bench.Latency{P99: n}}, {Devices: 1, Deliveries: n + n/2, Delivered: bench.Latency{P99: n}}}
	}
	r := result{SeqRow: []float64{2000}, Rows: []*row{
		{Peer: "first", K32: post(1000), K128: post(2000), Rate: post(4)},
		{Peer: "second", K32: post(500), K128: post(8000), Rate: post(6)},
	}}
	for _, want := range []string{
		"| first | 1000 | 1.00 | 2000 | 1.00 |",
		"| second | 500 | 0.50 | 8000 | 4.00 | 0.00 | – | 6.00 | 1.50 |",
		"| pgbench, one row with its seq | 2000 | 2.00 |",
	} {
		if got := r.table(); !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}
