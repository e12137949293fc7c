package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// BenchmarkNodes loads one of one, two or three nodes that share a Postgres, at a fixed rate. It
// reports what a notification costs that node, and what it costs a node whose users get none,
// which is the cost of an additional node.
func BenchmarkNodes(b *testing.B) {
	s := signer(b)
	c := newCurve("nodes", "A notification, as nodes are added on the same machine", "nodes")
	defer func() { c.save(b) }()
	for _, n := range []int{1, 2, 3} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			database := testserver.Postgres(b)
			var nodes []*testserver.Program
			for range n {
				nodes = append(nodes, testserver.NewProgram(b, map[string]string{
					"FALCON_JWT_SECRET": secret, "DATABASE_URL": database, "FALCON_CONNECT_RATE_PER_IP": "off",
				}))
			}
			t := target(b, s, nodes[0].HTTP+"/notifications", "mqtt://"+nodes[0].MQTT, nodes[0].PID())
			load := bench.Post{Users: 200, Devices: 1, Size: 300, Posters: 32, Rate: *rate, Max: 1_000_000,
				Duration: time.Duration(*seconds) * time.Second, Warm: time.Second, Connect: time.Minute, Grace: 5 * time.Second}
			for b.Loop() {
				before := cpuOf(b, nodes[1:])
				res, err := load.Run(b.Context(), t)
				if err == nil {
					err = res.Fault()
				}
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(res.PerSecond, "posts/s")
				b.ReportMetric(res.CPU.Server, "µs/post-own-node")
				y := map[string]float64{"CPU of the node it was posted to, µs a notification": res.CPU.Server}
				if n > 1 {
					spent := (cpuOf(b, nodes[1:]) - before) / time.Duration(n-1)
					cost := float64(spent.Microseconds()) / float64(res.Posts)
					b.ReportMetric(cost, "µs/post-other-node")
					y["CPU of each other node, µs a notification"] = cost
				}
				c.add(b, float64(n), y)
			}
		})
	}
	b.Run("every node loaded", func(b *testing.B) {
		database := testserver.Postgres(b)
		var loads []func() (bench.PostResult, error)
		for range 3 {
			p := testserver.NewProgram(b, map[string]string{
				"FALCON_JWT_SECRET": secret, "DATABASE_URL": database, "FALCON_CONNECT_RATE_PER_IP": "off",
			})
			t := target(b, s, p.HTTP+"/notifications", "mqtt://"+p.MQTT, p.PID())
			loads = append(loads, func() (bench.PostResult, error) {
				return bench.Post{Users: 200, Devices: 0, Size: 300, Posters: 10, Rate: *rate / 3, Max: 1_000_000,
					Duration: time.Duration(*seconds) * time.Second, Warm: time.Second, Connect: time.Minute,
					Grace: 5 * time.Second}.Run(b.Context(), t)
			})
		}
		for b.Loop() {
			var wg sync.WaitGroup
			var sum, cost [3]float64
			for i, load := range loads {
				wg.Go(func() {
					res, err := load()
					if err != nil {
						b.Error(err)
					}
					sum[i], cost[i] = res.PerSecond, res.CPU.Server
				})
			}
			wg.Wait()
			b.ReportMetric(sum[0]+sum[1]+sum[2], "posts/s")
			b.ReportMetric((cost[0]+cost[1]+cost[2])/3, "µs/post-own-node")
		}
	})
}

// cpuOf returns the CPU time of the nodes since their start.
func cpuOf(b *testing.B, nodes []*testserver.Program) (sum time.Duration) {
	b.Helper()
	for _, p := range nodes {
		u, err := bench.UsageOf(p.PID())
		if err != nil {
			b.Fatal(err)
		}
		sum += u.CPU
	}
	return sum
}
