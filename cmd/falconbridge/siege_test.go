package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/mqttwire"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// receiver is a device of another user, who must not notice an attack.
type receiver struct {
	nc    net.Conn
	admin caller
	user  string
}

func newReceiver(t *testing.T, p *testserver.Program, user string, c caller) *receiver {
	t.Helper()
	nc := dial(t, p.MQTT)
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	write(t, nc, connectPacket(4, "receiver", sign(t, user, 0)))
	if code, err := connack(nc); err != nil || code != 0 {
		t.Fatalf("the receiver's login: code %d, %v", code, err)
	}
	write(t, nc, mqttwire.AppendPacket(nil, mqttwire.Subscribe|2, append(mqttwire.AppendString([]byte{0, 1}, "users/"+user+"/reports/status"), 1)))
	if p, err := mqttwire.ReadPacket(nc); err != nil || p[0] != mqttwire.Suback {
		t.Fatalf("the receiver's SUBACK: % X, %v", p, err)
	}
	c.token = sign(t, "app", bridge.ScopeWrite)
	return &receiver{nc, c, user}
}

// one posts a notification, waits for it and returns how long both took.
func (r *receiver) one(t *testing.T) time.Duration {
	t.Helper()
	begun := time.Now()
	r.admin.do(t, "POST", "/notifications", map[string]any{"created_by": r.user, "title": "T", "message": "M"}, 201, nil)
	p, err := mqttwire.ReadPacket(r.nc)
	if err != nil {
		t.Fatalf("the receiver got nothing: %v", err)
	}
	took := time.Since(begun)
	m, err := mqttwire.ParsePublish(p, 4)
	if err != nil || p[0]&0xF0 != mqttwire.Publish {
		t.Fatalf("the receiver got % X, %v", p, err)
	}
	write(t, r.nc, mqttwire.AppendPuback(nil, m.ID))
	return took
}

// isServed posts n notifications and fails if one in a hundred takes as long as a
// silent socket may stay open: it then waited for the attackers.
func (r *receiver) isServed(t *testing.T, n int) {
	t.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = r.one(t)
	}
	slices.Sort(took)
	p50, p99 := took[n/2], took[n*99/100]
	t.Logf("another user: p50 %v, p99 %v", p50, p99)
	if p99 > 5*time.Second {
		t.Errorf("another user's p99 is %v", p99)
	}
}

// resident returns the program's resident memory in bytes.
func resident(t *testing.T, p *testserver.Program) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// A thousand sockets that send nothing, or part of a packet, on every listener. They
// come from eight addresses, because a node accepts fewer from one.
func TestAThousandSilentAndPartialConnectsDelayNoOtherClient(t *testing.T) {
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key)
	https := strings.TrimPrefix(p.HTTP, "http://")
	other := newReceiver(t, p, "7", caller{base: "https://" + https, client: httpsClient(t, f)})
	other.isServed(t, 20)
	before := resident(t, p)

	whole := connectPacket(5, "half", sign(t, "1", 0))
	half := whole[:len(whole)/2]
	conf := f.Trust(t)
	kinds := []func(from string) net.Conn{
		func(from string) net.Conn { return dialFrom(t, from, p.MQTT) },
		func(from string) net.Conn { nc := dialFrom(t, from, p.MQTT); write(t, nc, half); return nc },
		func(from string) net.Conn {
			nc := dialFrom(t, from, p.MQTT)
			write(t, nc, []byte{0x10, 0xFF, 0x7F})
			return nc
		},
		func(from string) net.Conn { return dialFrom(t, from, mqtts) },
		func(from string) net.Conn {
			nc := dialFrom(t, from, mqtts)
			write(t, nc, []byte{22, 3, 1, 2, 0, 1})
			return nc
		},
		func(from string) net.Conn {
			nc := tls.Client(dialFrom(t, from, mqtts), conf)
			write(t, nc, half)
			return nc
		},
		func(from string) net.Conn { return dialFrom(t, from, https) },
		func(from string) net.Conn {
			nc := tls.Client(dialFrom(t, from, https), conf)
			write(t, nc, []byte("GET /notifications HTTP/1.1\r\nHost: x\r\nX-Slow: "))
			return nc
		},
		func(from string) net.Conn {
			nc := tls.Client(dialFrom(t, from, https), conf)
			upgrade(t, nc)
			return nc
		},
		func(from string) net.Conn {
			nc := tls.Client(dialFrom(t, from, https), conf)
			upgrade(t, nc)
			write(t, nc, framed(half))
			return nc
		},
	}
	var wg sync.WaitGroup
	attackers := make([]net.Conn, 1000)
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < len(attackers); i += 8 {
				attackers[i] = kinds[i%len(kinds)](fmt.Sprintf("127.0.0.%d", 2+worker))
			}
		})
	}
	other.isServed(t, 100) // while they connect
	wg.Wait()
	other.isServed(t, 100)                                                  // and while they are connected
	if grown := resident(t, p) - before; grown > testserver.Weight*64<<20 { // 17 MiB were measured
		t.Errorf("a thousand sockets cost %d MiB", grown>>20)
	} else {
		t.Logf("a thousand sockets cost %d MiB", grown>>20)
	}
	for i, nc := range attackers { // the server closes all of them
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("socket %d, of kind %d, is left open", i, i%len(kinds))
		}
	}
	other.isServed(t, 20)
}

// Floods by clients that are logged in: each is disconnected and connects again.
func TestFloodsDelayNoOtherClient(t *testing.T) {
	p := testserver.NewProgram(t, production)
	other := newReceiver(t, p, "7", caller{base: p.HTTP})
	topic := "users/1/reports/status"
	publish := mqttwire.AppendPublish(nil, topic, 1, []byte("x"))
	subscribe := mqttwire.AppendSubscribe(nil, topic)
	unsubscribe := mqttwire.AppendPacket(nil, mqttwire.Unsubscribe|2, mqttwire.AppendString([]byte{0, 2, 0}, topic))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i, packet := range [][]byte{{0xC0, 0}, publish, slices.Concat(subscribe, unsubscribe), {0x40, 2, 0, 9}} {
		flood := []byte(strings.Repeat(string(packet), 200))
		login := connectPacket(5, fmt.Sprint("flood", i), sign(t, "1", 0))
		wg.Go(func() {
			again := time.NewTicker(80 * time.Millisecond) // so that four of them stay within the login rate of one address
			defer again.Stop()
			for ctx.Err() == nil {
				<-again.C
				nc, err := net.Dial("tcp", p.MQTT)
				if err != nil {
					continue
				}
				_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = nc.Write(login)
				go func() { _, _ = io.Copy(io.Discard, nc) }()
				for range 100 { // or until it is disconnected
					if _, err = nc.Write(flood); err != nil {
						break
					}
				}
				_ = nc.Close()
			}
		})
	}
	other.isServed(t, 100)
	testserver.Eventually(t, 20*time.Second, func() error { // on a fast machine, isServed ends before each flood was disconnected once
		var text string
		caller{base: p.Admin}.do(t, "GET", "/metrics", nil, 200, &text)
		_, rest, _ := strings.Cut(text, `falconbridge_limited_total{limit="packet_rate"} `)
		var n int
		if _, err := fmt.Sscan(rest, &n); err != nil || n < 4 {
			return fmt.Errorf("%d floods are counted, %v", n, err)
		}
		return nil
	})
	stop()
	wg.Wait()
}

// When the file descriptors run out and become free again, no restart is needed.
func TestRunningOutOfFileDescriptorsIsSurvived(t *testing.T) {
	p := testserver.NewProgram(t, production)
	other := newReceiver(t, p, "7", caller{base: p.HTTP})
	other.one(t)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	few := unix.Rlimit{Cur: uint64(len(files) + 12)}
	if err := unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	few.Max = was.Max
	if err := unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	var attackers []net.Conn
	for range 20 {
		attackers = append(attackers, dial(t, p.MQTT), dial(t, strings.TrimPrefix(p.HTTP, "http://")))
	}
	testserver.Eventually(t, 10*time.Second, func() error {
		if !strings.Contains(p.Log(), "too many open files") {
			return fmt.Errorf("files do not run out: %s", p.Log())
		}
		return nil
	})
	write(t, other.nc, []byte{0xC0, 0}) // existing connections continue
	if _, err := io.ReadFull(other.nc, make([]byte, 2)); err != nil {
		t.Errorf("who was connected: %v", err)
	}
	for _, nc := range attackers {
		_ = nc.Close()
	}
	testserver.Eventually(t, 15*time.Second, func() error {
		nc, err := net.Dial("tcp", p.MQTT)
		if err != nil {
			return err
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := nc.Write(connectPacket(5, "after", sign(t, "1", 0))); err != nil {
			return err
		}
		_, err = connack(nc)
		return err
	})
	other.isServed(t, 20)
}
