package broker

import (
	"bytes"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestTakeover(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at place) {
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

func TestReconnectStormUnderOneClientID(t *testing.T) {
	w := newWorld(t, Options{MaxConnectionsPerUser: 2})
	at := place{"tcp", 5}
	done := make(chan struct{}, 8)
	for range cap(done) {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 25 {
				d := w.dial(at)
				d.send(connect{id: "phone", token: "7", clean: true}.packet(5))
				_, _ = d.next(patience)
				_ = d.nc.Close()
			}
		}()
	}
	for range cap(done) {
		<-done
	}
	w.eventually("all gone", func(s Stats) bool { return s.Connections == 0 && s.Pending == 0 })
	w.login(at, "phone", "7").alive()
}

func TestExpiredTokenEndsTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorldHub(t, Options{}, bridge.Options{AckWait: 100 * time.Millisecond}) // looks often
	for _, transport := range []string{"tcp", "ws"} {
		for _, version := range []byte{4, 5} {
			d := w.login(place{transport, version}, "a", "brief")
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
