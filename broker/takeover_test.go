package broker

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

func TestTakeover(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		first := connect{id: "phone", token: "7", props: []byte{0x11, 0, 0, 1, 0}}
		old := w.dial(at)
		old.send(first.packet(at.version))
		old.expectConnack(0)
		old.subscribe(1, []byte{1}, topic7)
		w.notify("7", "unacknowledged")
		m := old.expectMessage()
		d := w.dial(at)
		d.send(first.packet(at.version))
		if p := d.expectConnack(0); p[2] != 1 {
			t.Errorf("session present is %d", p[2])
		}
		old.expectEnd(codeTakenOver)
		again := d.expectMessage()
		if again.head != 0x3A || again.id != m.id || again.body != m.body {
			t.Errorf("resent as %+v, first as %+v", again, m)
		}
		d.ack(again)
		d.alive()
		w.eventually("one connection left", func(s Stats) bool { return s.Connections == 1 })
	})
}

// watchBus is a bus that counts the users that its hub watches.
type watchBus struct {
	nopBus
	users atomic.Int64
}

func (b *watchBus) Watch(bridge.UserID)   { b.users.Add(1) }
func (b *watchBus) Unwatch(bridge.UserID) { b.users.Add(-1) }

// Each connection subscribes to its own and to other topics while the next one takes over.
// A SUBSCRIBE that is processed after the end must leave nothing in the hub.
func TestReconnectStormUnderOneClientID(t *testing.T) {
	bus := &watchBus{}
	w := newWorldHub(t, Options{MaxConnectionsPerUser: 2}, delivery.Options{Bus: bus})
	at := endpoint{"tcp", 5}
	done := make(chan struct{}, 8)
	for i := range cap(done) {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 25 {
				d := w.dial(at)
				d.send(connect{id: "phone", token: "1/notifications:read", clean: true}.packet(5))
				if _, err := d.next(testTimeout); err == nil {
					_, _ = d.nc.Write(subscribe(5, 9, 1, nil, bridge.Topics{}.Status("1"), topic7, "users/+/reports/status"))
				}
				if i%2 == 0 {
					_, _ = d.next(testTimeout)
				}
				_ = d.nc.Close()
			}
		}()
	}
	for range cap(done) {
		<-done
	}
	w.eventually("all ended", func(s Stats) bool { return s.Connections == 0 && s.Pending == 0 && bus.users.Load() == 0 })
	w.login(at, "phone", "7").alive()
}

func TestExpiredTokenEndsTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorldHub(t, Options{}, delivery.Options{AckWait: 100 * time.Millisecond}) // so that it checks often
	for _, transport := range []string{"tcp", "ws"} {
		for _, version := range []byte{4, 5} {
			d := w.login(endpoint{transport, version}, "a", "brief")
			d.subscribe(1, []byte{1}, topic7)
			if version == 5 {
				if p := d.expect("E0 .."); p[2] != codeNotAuthorized || !bytes.Contains(p, []byte("token")) {
					t.Errorf("DISCONNECT % X", p)
				}
			}
			d.expectEnd(0)
		}
	}
}
