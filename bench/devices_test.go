package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/bench"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// perNode is how many devices connect to one process. Debian's containers allow a process 20,000
// open files, some of which are not sockets of devices.
const perNode = 18_500

// BenchmarkDevices measures what notifications to 1,000 devices cost while more and more idle
// devices are connected. For the last point they are on three nodes.
func BenchmarkDevices(b *testing.B) {
	once(b)
	s := signer(b)
	c := newCurve("devices", "A notification, as more devices are connected", "devices")
	for _, total := range []int{1_000, 2_000, 5_000, 10_000, perNode, 50_000} {
		b.Run(fmt.Sprint(total), func(b *testing.B) {
			database := testserver.Postgres(b)
			nodes := make([]*testserver.Program, (total+perNode-1)/perNode)
			for i := range nodes {
				nodes[i] = testserver.NewProgram(b, map[string]string{
					"FALCON_JWT_SECRET": secret, "DATABASE_URL": database, "FALCON_CONNECT_RATE_PER_IP": "off",
				})
			}
			idle, each := 1_000, (total-1_000)/len(nodes)
			for _, p := range nodes {
				if each > 0 {
					hold(b, p, idle, each)
				}
				idle += each
			}
			t := target(b, s, nodes[0].HTTP+"/notifications", "mqtt://"+nodes[0].MQTT, nodes[0].PID())
			var closed, paced []bench.PostResult
			for range *rounds {
				closed = append(closed, loaded(b, bench.Post{Posters: 64, Users: 1_000, Devices: 1, Size: 300}, t))
				paced = append(paced, loaded(b, bench.Post{Posters: 32, Users: 1_000, Devices: 1, Size: 300, Rate: *rate}, t))
			}
			full := median(closed, func(r bench.PostResult) float64 { return r.CPU.Server })
			calm := median(paced, func(r bench.PostResult) float64 { return r.Delivered.P50 })
			var resident int64
			for _, p := range nodes {
				u, err := bench.UsageOf(p.PID())
				if err != nil {
					b.Fatal(err)
				}
				resident += u.Resident
			}
			c.add(b, float64(total), map[string]float64{
				"server CPU, µs a notification":              full.CPU.Server,
				fmt.Sprintf("p50 at %d/s, ms", *rate):        calm.Delivered.P50,
				"resident memory of all nodes together, MiB": float64(resident) / (1 << 20),
			})
		})
	}
	c.save(b)
}

// hold connects n idle devices of users from first on, until the benchmark ends. Another process
// does so, because this one has too few file descriptors.
func hold(b *testing.B, p *testserver.Program, first, n int) {
	b.Helper()
	cmd := exec.Command(testserver.Binary(b), "bench", "idle", fmt.Sprintf("--connections=%d", n), fmt.Sprintf("--first-user=%d", first),
		"--hold=1h", "--settle=1s", "--connect-within=5m", fmt.Sprintf("--max-devices=%d", n), "--url="+p.HTTP, "--mqtt-url=mqtt://"+p.MQTT)
	cmd.Env = testserver.Environ(map[string]string{"FALCON_JWT_SECRET": secret})
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	testserver.Eventually(b, 5*time.Minute, func() error {
		got, err := figure(p, "falconbridge_connections")
		if err == nil && got < n {
			err = fmt.Errorf("%d of %d devices are connected", got, n)
		}
		return err
	})
}

// figure returns the value of a node's metric without labels.
func figure(p *testserver.Program, name string) (n int, err error) {
	res, err := http.Get(p.Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(rest, 64)
			return int(f), err
		}
	}
	return 0, fmt.Errorf("no metric %s: %w", name, lines.Err())
}

// BenchmarkStorm makes all devices of a node lose their connections and reconnect at once, while
// other users get notifications.
func BenchmarkStorm(b *testing.B) {
	once(b)
	s := signer(b)
	p := testserver.NewProgram(b, map[string]string{
		"FALCON_JWT_SECRET": secret, "DATABASE_URL": testserver.Postgres(b), "FALCON_CONNECT_RATE_PER_IP": "off",
	})
	const storm = 19_400 // of 20,000 file descriptors of the process

	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var others bench.PostResult
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		others, failed = bench.Post{Posters: 16, Users: 100, Devices: 1, Size: 300, Rate: 200, Duration: 10 * time.Minute, Warm: time.Second,
			Max: 1_000_000, Connect: time.Minute, Grace: 10 * time.Second}.Run(ctx, target(b, s, p.HTTP+"/notifications", "mqtt://"+p.MQTT, p.PID()))
	})
	res := returns(b, p, storm, 1_000)
	cancel()
	wg.Wait()
	if failed != nil {
		b.Fatal(failed)
	}
	if err := others.Fault(); err != nil {
		b.Error(err)
	}
	for i, w := range res.Waves {
		b.Logf("wave %d: %d devices in %.1f s (%.0f/s), %d retries, %d broken; resident %.0f MiB before, %.0f held, %.0f after", i+1, storm,
			w.Seconds, storm/w.Seconds, w.Retries, w.Broken, mebi(w.Before), mebi(w.Held), mebi(w.After))
	}
	var settled bench.Usage
	looks := time.NewTicker(5 * time.Second)
	defer looks.Stop()
	for begun := time.Now(); time.Since(begun) < 3*time.Minute; <-looks.C {
		var err error
		if settled, err = bench.UsageOf(p.PID()); err != nil {
			b.Fatal(err)
		}
		if settled.Resident < 2*res.Waves[0].Before {
			b.Logf("resident after %v: %.0f MiB", time.Since(begun).Round(time.Second), mebi(settled.Resident))
			break
		}
	}
	b.Logf("resident at last: %.0f MiB", mebi(settled.Resident))
	b.Logf("others meanwhile: %v; post to device %v; %v", others.PerSecond, others.Delivered, others.Delivery)
	b.ReportMetric(storm/res.Waves[1].Seconds, "logins/s")
	b.ReportMetric(others.Delivered.P99, "others-p99-ms")
	b.ReportMetric(float64(res.Waves[1].Held)/float64(res.Waves[0].Held), "memory-ratio")
}

// returns connects that many devices of users from the given number on to p, closes all
// connections together, and reconnects. Another process with the lowest priority does so,
// because real devices have processors of their own and do not take CPU from the measurement.
func returns(b *testing.B, p *testserver.Program, devices, firstUser int) (res bench.IdleResult) {
	b.Helper()
	cmd := exec.Command("nice", "-n", "19", testserver.Binary(b), "bench", "idle", "--json", fmt.Sprintf("--connections=%d", devices), fmt.Sprintf("--first-user=%d", firstUser),
		"--waves=2", "--settle=3s", "--connect-within=5m", fmt.Sprintf("--max-devices=%d", devices), fmt.Sprintf("--at-once=%d", *stormers), "--addresses=5000",
		fmt.Sprintf("--pid=%d", p.PID()), "--url="+p.HTTP, "--mqtt-url=mqtt://"+p.MQTT)
	cmd.Env = testserver.Environ(map[string]string{"FALCON_JWT_SECRET": secret})
	var text, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &faults
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %s", err, faults.String())
	}
	if err := json.Unmarshal(text.Bytes(), &res); err != nil || len(res.Waves) != 2 {
		b.Fatalf("%v: %s", err, text.String())
	}
	return res
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }
