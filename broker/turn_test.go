package broker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// busyLogins waits until every turn of CONNECT is taken.
func (w *world) busyLogins() {
	w.Helper()
	testserver.Eventually(w, 5*time.Second, func() error {
		if t := w.broker.logins; len(t.places) < cap(t.places) {
			return errors.New("the CONNECT has not reached the database")
		}
		return nil
	})
}

// Devices that all come back in one moment must not stand in line for the
// database until they time out there.
func TestAReconnectStormTakesTurns(t *testing.T) {
	everywhere(t, Options{Turns: 2}, func(t *testing.T, w *world, at place) {
		there := w.login(at, "there", "7")
		w.log.mu.Lock() // the database is slow
		var ds []*device
		for i := range 12 {
			d := w.dial(at)
			d.send(connect{id: fmt.Sprint("d", i), token: "7", clean: true}.packet(at.version))
			ds = append(ds, d)
		}
		w.busyLogins()
		there.alive() // who is in stays
		w.log.mu.Unlock()
		for _, d := range ds {
			d.expectConnack(0)
			d.subscribe(1, []byte{1}, topic7)
		}
	})
}

func TestATurnThatDoesNotComeIsRefused(t *testing.T) {
	everywhere(t, Options{Turns: 1, Turn: 50 * time.Millisecond}, func(t *testing.T, w *world, at place) {
		w.log.mu.Lock()
		first := w.dial(at)
		first.send(connect{id: "first", token: "7", clean: true}.packet(at.version))
		w.busyLogins()
		second := w.dial(at)
		second.send(connect{id: "second", token: "7", clean: true}.packet(at.version))
		second.expectConnack(map[byte]byte{4: 3, 5: codeBusy}[at.version])
		second.expectEnd(0)
		w.log.mu.Unlock()
		first.expectConnack(0)
		w.login(at, "second", "7").alive()

		w.broker.subscribes.places <- struct{}{}
		first.subscribe(1, []byte{map[byte]byte{4: codeUnspecified, 5: codeImplementation}[at.version]}, topic7)
		w.broker.subscribes.done()
		first.subscribe(1, []byte{1}, topic7)
	})
}

func TestDrainEndsTheWaitForATurn(t *testing.T) {
	w := newWorld(t, Options{Turns: 1, Turn: time.Hour})
	at := place{"tcp", 5}
	w.broker.logins.places <- struct{}{}
	d := w.dial(at)
	d.send(connect{id: "late", token: "7", clean: true}.packet(5))
	w.eventually("the device is let in", func(s Stats) bool { return s.Connections == 1 })
	_ = w.broker.Close() // would wait for an hour
	if p, err := d.next(patience); err == nil && p[3] == 0 {
		t.Errorf("let in while draining: % X", p)
	}
}
