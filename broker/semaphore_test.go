package broker

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// busyLogins waits until every slot for CONNECTs is in use.
func (w *world) busyLogins() {
	w.Helper()
	testserver.Eventually(w, 5*time.Second, func() error {
		s := w.broker.logins
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.free > 0 {
			return errors.New("the CONNECT has not reached the database")
		}
		return nil
	})
}

// Devices that all reconnect at the same moment must not wait for the database until they
// time out there.
func TestAReconnectStormWaitsForTheDatabase(t *testing.T) {
	everywhere(t, Options{Concurrency: 2}, func(t *testing.T, w *world, at endpoint) {
		there := w.login(at, "there", "7")
		w.log.mu.Lock() // the database is slow
		var ds []*device
		for i := range 12 {
			d := w.dial(at)
			d.send(connect{id: fmt.Sprint("d", i), token: "7", clean: true}.packet(at.version))
			ds = append(ds, d)
		}
		w.busyLogins()
		there.alive() // a device that is logged in is not affected
		w.log.mu.Unlock()
		for _, d := range ds {
			d.expectConnack(0)
			d.subscribe(1, []byte{1}, topic7)
		}
	})
}

func TestAConnectThatWaitsTooLongIsRefused(t *testing.T) {
	everywhere(t, Options{Concurrency: 1, QueueTimeout: 50 * time.Millisecond}, func(t *testing.T, w *world, at endpoint) {
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

		w.broker.subscribes.acquire("")
		first.subscribe(1, []byte{map[byte]byte{4: codeUnspecified, 5: codeImplementation}[at.version]}, topic7)
		w.broker.subscribes.release()
		first.subscribe(1, []byte{1}, topic7)
	})
}

func TestDrainEndsTheWaitForTheDatabase(t *testing.T) {
	w := newWorld(t, Options{Concurrency: 1, QueueTimeout: time.Hour})
	at := endpoint{"tcp", 5}
	w.broker.logins.acquire("")
	d := w.dial(at)
	d.send(connect{id: "late", token: "7", clean: true}.packet(5))
	w.eventually("the device is past the limits", func(s Stats) bool { return s.Connections == 1 })
	_ = w.broker.Close() // otherwise it would wait for an hour
	if p, err := d.next(testTimeout); err == nil && p[3] == 0 {
		t.Errorf("accepted while draining: % X", p)
	}
}

// Six users with 16 connections each must not make a seventh wait for them all.
func TestConnectionsOfAFewUsersDelayNoOtherUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		s := newSemaphore(1, time.Minute, stop)
		s.acquire("busy")
		served := make(chan bridge.UserID, 97)
		wait := func(u bridge.UserID) {
			go func() {
				if s.acquire(u) {
					served <- u
				}
			}()
			synctest.Wait()
		}
		for i := range 96 {
			wait(bridge.UserID(strconv.Itoa(i % 6)))
		}
		wait("seventh")
		for i := range 7 {
			s.release()
			if u := <-served; u == "seventh" {
				return
			} else if u != bridge.UserID(strconv.Itoa(i)) {
				t.Errorf("slot %d goes to %s", i, u)
			}
		}
		t.Error("the seventh user still waits")
	})
}

func TestAWaiterThatTimesOutLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSemaphore(1, time.Second, nil)
		s.acquire("busy")
		if s.acquire("late") {
			t.Error("a slot that is in use was given to another device")
		}
		if len(s.queues) != 0 || s.rotation.Len() != 0 {
			t.Errorf("%d queues are left, %d in rotation", len(s.queues), s.rotation.Len())
		}
		s.release()
		if !s.acquire("next") || s.free != 0 {
			t.Error("the slot was lost")
		}
	})
}
