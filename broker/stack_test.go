//go:build !race

package broker

import (
	"runtime"
	"strconv"
	"testing"
)

// The goroutine of an idle connection must fit the smallest stack: the next size would cost
// 2 KiB more for each of 100,000 connections.
func TestAnIdleConnectionKeepsTheSmallestStack(t *testing.T) {
	const devices = 500
	for _, transport := range []string{"tcp", "ws"} {
		w := newWorld(t, Options{})
		stacks := func() uint64 {
			runtime.GC() // shrinks stacks that are larger than needed
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.StackInuse
		}
		before := stacks()
		for i := range devices {
			user := strconv.Itoa(i + 1)
			d := w.login(endpoint{transport, 5}, "d", user)
			d.subscribe(1, []byte{1}, "users/"+user+"/reports/status")
		}
		if each := (stacks() - before) / devices; each > 3<<10 {
			t.Errorf("%s: %d bytes of stack a connection, want 2 KiB: see conn.run", transport, each)
		}
	}
}
