package delivery

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// A row has the age of the call that made it, and becomes readable when its transaction and
// every older one have ended. An operator has not fallen behind because of that.
func TestALongTransactionDoesNotMakeAnOperatorSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		c, l, _ := w.connect(operator(2))
		w.subscribe(c, topic("users/+/reports/status"))
		synctest.Wait()
		w.log.age = 2 * time.Minute
		w.notify("7", "a", "b", "c", "d", "e")
		c.all(w.expect(l, "1 2"))
		c.all(w.expect(l, "3 4"))
		c.all(w.expect(l, "5"))
		fakeclock.Advance(time.Minute)
		w.notify("7", "f")
		c.all(w.expect(l, "6"))
		synctest.Wait()
		if got := l.reasons(); len(got) > 0 {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestAnOperatorWhoFallsBehindIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		c, l, _ := w.connect(operator(1))
		w.subscribe(c, topic("users/+/reports/status"))
		synctest.Wait()
		for range 20 {
			w.notify("7", "a")
		}
		for i := range 8 { // every 10 s
			c.all(w.expect(l, fmt.Sprint(i+1)))
			fakeclock.Advance(10 * time.Second)
		}
		synctest.Wait()
		if got := l.reasons(); !slices.Equal(got, []bridge.EndReason{bridge.EndSlow}) {
			t.Errorf("ended with %v", got)
		}
	})
}
