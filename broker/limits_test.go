package broker

import (
	"fmt"
	"testing"
	"time"
)

func TestEveryLimitHasItsReasonCode(t *testing.T) {
	for name, tt := range map[string]struct {
		o    Options
		fill func(w *world, at endpoint)
		code byte
		hit  Limit
	}{
		"connections in total": {Options{MaxConnections: 2}, func(w *world, at endpoint) {
			w.login(at, "a", "1")
			w.login(at, "b", "2")
		}, codeBusy, LimitConnections},
		"connections of a user": {Options{MaxConnectionsPerUser: 2}, func(w *world, at endpoint) {
			w.login(at, "a", "7")
			w.login(at, "b", "7")
			w.login(at, "b", "7") // takes over, which does not count
			w.login(at, "c", "8")
		}, codeQuota, LimitConnectionsPerUser},
		"connections of an address": {Options{MaxConnectionsPerIP: 2}, func(w *world, at endpoint) {
			w.login(at, "a", "1")
			w.login(at, "b", "2")
			w.login(at, "b", "2") // takes over, which does not count
		}, codeQuota, LimitConnectionsPerAddress},
		"connects of a user": {Options{ConnectRatePerUser: 2}, func(w *world, at endpoint) {
			w.login(at, "a", "7")
			d := w.dial(at)
			d.send(connect{id: "b", token: "bad"}.packet(at.version)) // a bad token has no user, so it does not count
			d.expectConnack(map[byte]byte{4: 4, 5: codeBadToken}[at.version])
			w.login(at, "a", "8")
			w.login(at, "a", "7")
		}, codeConnectionRate, LimitConnectsPerUser},
		"connects of an address": {Options{ConnectRatePerIP: 2}, func(w *world, at endpoint) {
			w.login(at, "a", "1")
			d := w.dial(at)
			d.send(connect{id: "b", token: "bad"}.packet(at.version)) // refused ones count, too
			d.expectConnack(map[byte]byte{4: 4, 5: codeBadToken}[at.version])
		}, codeConnectionRate, LimitConnectsPerAddress},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, tt.o, func(t *testing.T, w *world, at endpoint) {
				tt.fill(w, at)
				d := w.dial(at)
				d.send(connect{id: "z", token: "7", clean: true}.packet(at.version))
				code := tt.code
				if at.version == 4 {
					code = 3
				}
				d.expectConnack(code)
				d.expectEnd(0)
				if s := w.broker.Stats(); s.Refused[tt.code] != 1 || s.Limited[tt.hit] != 1 {
					t.Errorf("refusals counted: %v, by limit %v", s.Refused, s.Limited)
				}
			})
		})
	}
}

func TestEndedConnectionsFreeTheirSlots(t *testing.T) {
	w := newWorld(t, Options{MaxConnections: 1, MaxConnectionsPerUser: 1, MaxConnectionsPerIP: 1, ConnectRatePerIP: 50})
	for i := range 5 {
		d := w.login(endpoint{"tcp", 5}, fmt.Sprint(i), "7")
		d.send([]byte{0xE0, 0})
		d.expectEnd(0)
		w.eventually("the slot free", func(s Stats) bool { return s.Connections == 0 })
	}
	d := w.dial(endpoint{"tcp", 5})
	w.log.setUnavailable(true)
	d.send(connect{id: "a", token: "7"}.packet(5))
	d.expectConnack(codeUnavailable) // and the slot is released
	w.log.setUnavailable(false)
	w.eventually("the slot free", func(s Stats) bool { return s.Connections == 0 })
	w.login(endpoint{"tcp", 5}, "a", "7").alive()
}

func TestBadOptionsAreRefused(t *testing.T) {
	w := newWorld(t, Options{})
	for name, spoil := range map[string]func(o *Options){
		"no hub":                     func(o *Options) { o.Hub = nil },
		"no verifier":                func(o *Options) { o.Verifier = nil },
		"a negative limit":           func(o *Options) { o.MaxPending = -1 },
		"a negative time":            func(o *Options) { o.WriteTimeout = -time.Second },
		"a negative rate":            func(o *Options) { o.ConnectRatePerIP = -0.5 },
		"a keepalive past 16 bits":   func(o *Options) { o.MaxKeepAlive = 20 * time.Hour },
		"a keepalive under a second": func(o *Options) { o.WSKeepAlive = time.Millisecond },
	} {
		o := Options{Hub: w.hub, Verifier: users{}}
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: the options are accepted", name)
		}
	}
}
