package delivery

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// Whoever reads the log of an outage needs its causes, not one line a second for each thing
// that is retried.
func TestAnOutageOfTheDatabaseIsNotALineASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t, Options{Pruner: &pruner{err: bridge.ErrUnavailable}, Retention: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		c, _, _ := w.connect(persistent("7"))
		w.subscribe(c, SubscribeRequest{Filter: "users/7/reports/status", Subscription: bridge.Subscription{QoS: 1}})
		w.notify("7", "a")
		synctest.Wait()
		c.Ack(PacketID(1))
		w.log.setUnavailable(true)
		fakeclock.Advance(2 * time.Minute)
		lines := make(map[string]int)
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(line, "msg=")
			lines[line]++
		}
		for _, what := range []string{"writing cursors failed", "could not remove expired notifications"} {
			if !strings.Contains(log.String(), what) {
				t.Errorf("nothing says %q", what)
			}
		}
		for line, n := range lines {
			if n > 5 { // one in 30 s
				t.Errorf("%d times %s", n, line)
			}
		}
		w.log.setUnavailable(false)
	})
}
