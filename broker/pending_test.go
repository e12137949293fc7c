package broker

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The attack: unauthenticated clients at a handful of addresses fill the table of pending
// connections, and keep it full. A device at another address still logs in.
func TestSilentSocketsOfAFewAddressesDoNotBlockOtherDevices(t *testing.T) {
	everywhere(t, Options{MaxPending: 40, MaxPendingPerIP: 8, ConnectTimeout: time.Minute}, func(t *testing.T, w *world, at endpoint) {
		addr := w.tcp
		switch at.transport {
		case "tls":
			addr = w.tls
		case "ws":
			addr = w.ws
		}
		var held []net.Conn
		silent := func(host byte) net.Conn {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, host)}}
			nc, err := d.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = nc.Close() })
			if at.transport == "ws" {
				if _, err := nc.Write([]byte(upgradeRequest(addr))); err != nil {
					t.Fatal(err)
				}
			}
			return nc
		}
		for i := range 40 {
			held = append(held, silent(byte(1+i%5)))
		}
		w.eventually("the table full", func(s Stats) bool { return s.Pending == 40 })
		if w.login(at, "a", "7").alive(); w.broker.Stats().TurnedAway == 0 {
			t.Error("no silent socket was evicted")
		}
		for range 5 { // and free slots are taken again at once
			for host := range byte(5) {
				held = append(held, silent(1+host))
			}
			w.login(at, "b", "7").alive()
		}
		if s := w.broker.Stats(); s.Pending > 40 {
			t.Errorf("%d sockets before login", s.Pending)
		}
		w.eventually("the connections that were taken over ended", func(s Stats) bool { return s.Connections == 2 })
		for _, nc := range held {
			_ = nc.Close()
		}
		w.eventually("their slots free", func(s Stats) bool { return s.Pending == 0 })
	})
}

// pendingConns is compared with a list that is searched.
func TestTheOldestOfTheAddressWithMostIsEvicted(t *testing.T) {
	var l pendingConns
	l.init()
	var all []*conn
	counts := map[netip.Addr]int{}
	drop := func(c *conn) {
		l.remove(c)
		all = slices.DeleteFunc(all, func(o *conn) bool { return o == c })
		counts[c.from]--
	}
	for i := range 5000 {
		if i%3 == 2 && len(all) > 0 {
			drop(all[(i*7919)%len(all)])
		} else {
			c := &conn{from: address(fmt.Sprintf("10.0.0.%d", (i*i)%17))}
			l.add(c)
			all = append(all, c)
			counts[c.from]++
		}
		if len(all) > 60 {
			out := l.oldest()
			most := 0
			for _, n := range counts {
				most = max(most, n)
			}
			first := all[slices.IndexFunc(all, func(c *conn) bool { return c.from == out.from })]
			if counts[out.from] != most || first != out {
				t.Fatalf("step %d: evicted from an address with %d connections, want one with %d", i, counts[out.from], most)
			}
			drop(out)
		}
		if l.len() != len(all) {
			t.Fatalf("step %d: %d are pending, want %d", i, l.len(), len(all))
		}
	}
	for _, c := range slices.Clone(all) {
		drop(c)
	}
	if l.oldest() != nil || len(l.origins)+len(l.sizes)+l.largest != 0 {
		t.Errorf("the empty table has %d origins and %d sizes, the largest %d", len(l.origins), len(l.sizes), l.largest)
	}
}
