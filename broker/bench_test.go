package broker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// The clients of the benchmarks run in the same process, so they cost as little as
// possible; idle ones are only a file descriptor.

func benchTransports(b *testing.B, run func(b *testing.B, at endpoint)) {
	for _, transport := range []string{"tcp", "ws"} {
		b.Run(transport, func(b *testing.B) { run(b, endpoint{transport, 5}) })
	}
}

// BenchmarkDelivery sends messages with QoS 1 to 1,000 devices of 1,000 users, which
// acknowledge each. One op is one message, including the append to a log in memory and the
// work of the client.
func BenchmarkDelivery(b *testing.B) {
	benchTransports(b, func(b *testing.B, at endpoint) {
		const devices = 1000
		w := newWorld(b, Options{})
		var got atomic.Int64
		for i := range devices {
			d := w.dial(at)
			user := strconv.Itoa(i + 1)
			d.send(connect{id: "d", token: user, clean: true}.packet(5))
			d.expectConnack(0)
			d.subscribe(1, []byte{1}, "users/"+user+"/reports/status")
			go d.ackAll(&got)
		}
		body := strings.Repeat("x", 180)
		var cpu [2]syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &cpu[0])
		b.ReportAllocs()
		b.ResetTimer()
		for n := range b.N {
			for int64(n)-got.Load() > 16*devices {
				runtime.Gosched()
			}
			u := bridge.UserID(strconv.Itoa(n%devices + 1))
			if _, err := w.svc.Notify(context.Background(), bridge.Draft{User: u, Title: "title", Message: body}, nil); err != nil {
				b.Fatal(err)
			}
		}
		for got.Load() < int64(b.N) {
			runtime.Gosched()
		}
		b.StopTimer()
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &cpu[1])
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		b.ReportMetric(float64(cpuTime(cpu[1])-cpuTime(cpu[0]))/float64(b.N)/1e3, "cpu-µs/msg")
	})
}

func cpuTime(r syscall.Rusage) time.Duration {
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// ackAll acknowledges every PUBLISH until the connection ends, with one write for each
// read.
func (d *device) ackAll(got *atomic.Int64) {
	_ = d.nc.SetReadDeadline(time.Time{})
	buf, have := make([]byte, 16<<10), 0
	var acks []byte
	for {
		n, err := d.nc.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		at := 0
		acks = acks[:0]
		count := int64(0)
		for {
			b := buf[at:have]
			if d.ws {
				const head = 4 // all frames have 126 bytes to 64 KiB, with one or more packets
				if len(b) < head {
					break
				}
				size := int(b[2])<<8 | int(b[3])
				if len(b) < head+size {
					break
				}
				for p := b[head : head+size]; len(p) > 0; count++ {
					m, _ := packetLen(p, 1<<16)
					acks = append(acks, clientFrame(0x82, ackOf(p))...)
					p = p[m:]
				}
				at += head + size
				continue
			}
			m, _ := packetLen(b, 1<<16)
			if m == 0 || len(b) < m {
				break
			}
			acks = append(acks, ackOf(b)...)
			count++
			at += m
		}
		have = copy(buf, buf[at:have])
		if _, err := d.nc.Write(acks); err != nil {
			return
		}
		got.Add(count)
	}
}

func ackOf(publish []byte) []byte {
	s := scan{b: publish[1:]}
	s.varint()
	s.binary()
	id := s.u16()
	return []byte{0x40, 2, byte(id >> 8), byte(id)}
}

// BenchmarkConnect connects, logs in and disconnects, including the work of the client.
func BenchmarkConnect(b *testing.B) {
	benchTransports(b, func(b *testing.B, at endpoint) {
		w := newWorld(b, Options{})
		connect := connect{id: "d", token: "7", clean: true}.packet(5)
		for b.Loop() {
			fd := rawDial(b, w, at, connect)
			_ = syscall.Close(fd)
		}
	})
}

// BenchmarkIdle reports the memory of an idle, subscribed connection in the server.
func BenchmarkIdle(b *testing.B) {
	benchTransports(b, func(b *testing.B, at endpoint) {
		const devices = 4000
		w := newWorld(b, Options{})
		for range b.N {
			rss, mem := resident(b)
			fds := make([]int, devices)
			var wg sync.WaitGroup
			for part := range 4 {
				wg.Go(func() {
					for i := part; i < devices; i += 4 {
						user := strconv.Itoa(i + 1)
						fds[i] = rawDial(b, w, at, connect{id: "device-" + user, token: user, clean: true}.packet(5))
						rawSend(b, fds[i], at, subscribe(5, 1, 1, nil, "users/"+user+"/reports/status"), 1)
					}
				})
			}
			wg.Wait()
			rss2, mem2 := resident(b)
			b.ReportMetric(float64(rss2-rss)/devices/1024, "KiB-resident/conn")
			b.ReportMetric(float64(mem2.HeapAlloc-mem.HeapAlloc)/devices/1024, "KiB-heap/conn")
			b.ReportMetric(float64(mem2.StackInuse-mem.StackInuse)/devices/1024, "KiB-stack/conn")
			for _, fd := range fds {
				_ = syscall.Close(fd)
			}
			w.eventually("all gone", func(s Stats) bool { return s.Connections == 0 })
		}
	})
}

// resident returns the memory of the process after a garbage collection.
func resident(b *testing.B) (rss int, m runtime.MemStats) {
	b.Helper()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize(), m
}

// rawDial connects and logs in over a bare socket.
func rawDial(b *testing.B, w *world, at endpoint, connect []byte) int {
	addr := w.tcp
	if at.transport == "ws" {
		addr = w.ws
	}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		b.Error(err)
		return -1
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())})
	}
	if err != nil {
		b.Error(err)
		return -1
	}
	if at.transport == "ws" {
		upgrade := "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
		if _, err := syscall.Write(fd, []byte(upgrade)); err != nil {
			b.Error(err)
		}
		rawRead(b, fd, func(got []byte) bool { return bytes.HasSuffix(got, []byte("\r\n\r\n")) })
	}
	rawSend(b, fd, at, connect, 0)
	return fd
}

// rawSend sends a packet and waits for the response, whose last byte must be code.
func rawSend(b *testing.B, fd int, at endpoint, p []byte, code byte) {
	if at.transport == "ws" {
		p = clientFrame(0x82, p)
	}
	if _, err := syscall.Write(fd, p); err != nil {
		b.Error(err)
	}
	rawRead(b, fd, func(got []byte) bool { return len(got) > 4 && got[len(got)-1] == code || len(got) > 16 })
}

func rawRead(b *testing.B, fd int, done func(got []byte) bool) {
	buf := make([]byte, 1024)
	have := 0
	for !done(buf[:have]) {
		n, err := syscall.Read(fd, buf[have:])
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			b.Error(fmt.Errorf("after %q: %w", buf[:have], err))
			return
		}
		have += n
	}
}
