package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

func TestDrain(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		var devices []*device
		for i := range 5 {
			devices = append(devices, w.login(at, fmt.Sprint(i), "7"))
		}
		silent := w.dial(at)
		w.eventually("one pending connection", func(s Stats) bool { return s.Pending == 1 })
		begun := time.Now()
		done := make(chan error, 1)
		go func() { done <- w.broker.Drain(t.Context(), 400*time.Millisecond) }()
		ended := make(chan time.Duration, len(devices))
		for _, d := range devices {
			go func() {
				_, _ = d.next(testTimeout)
				ended <- time.Since(begun)
			}()
		}
		var last time.Duration
		for range devices {
			last = <-ended
		}
		if last < 4*drainGap {
			t.Errorf("all ended within %v: not staggered", last)
		}
		silent.expectEnd(0)
		if err := <-done; err != nil {
			t.Errorf("drain: %v", err)
		}
		if nc, err := net.Dial("tcp", w.tcp); err == nil && at.transport == "tcp" {
			_ = nc.Close()
			t.Error("the listener still accepts")
		}
		if s := w.broker.Stats(); s.Connections != 0 || s.Pending != 0 {
			t.Errorf("left behind: %+v", s)
		}
		if err := w.broker.Drain(t.Context(), time.Second); err != nil {
			t.Errorf("a second drain: %v", err)
		}
	})
}

func TestDrainGivesTheReason(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.login(at, "a", "7")
		done := make(chan error, 1)
		go func() { done <- w.broker.Drain(t.Context(), 0) }()
		d.expectEnd(codeShuttingDown)
		if at.transport == "ws" && d.closed != wsGoingAway {
			t.Errorf("the WebSocket closed with %d", d.closed)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if at.transport == "ws" { // HTTP may still be up
			if status, _ := w.handshake(t, nil); status != 503 {
				t.Errorf("an upgrade while draining: %d", status)
			}
		}
	})
}

func TestDrainClosesConnectionsThatOutlastIt(t *testing.T) {
	w := newWorld(t, Options{Linger: time.Hour})
	w.login(endpoint{"tcp", 5}, "a", "7") // never reads and never closes
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := w.broker.Drain(ctx, time.Hour)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}

func TestServeTCPEndsWithItsContext(t *testing.T) {
	w := newWorld(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.broker.ServeTCP(ctx, l, "tcp") }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ServeTCP: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener still accepts")
	}
}

func TestServeTCPReportsAClosedListener(t *testing.T) {
	w := newWorld(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := w.broker.ServeTCP(t.Context(), l, "tcp"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ServeTCP: %v", err)
	}
}
