// Package fakeclock moves the clock of the tests that run in a bubble of testing/synctest.
// Waiting for the machine's clock instead would be slow, and too short on a busy machine.
package fakeclock

import (
	"testing/synctest"
	"time"
)

// Advance moves the clock of the caller's bubble forward by d, and returns when all that
// became due has been done: every other goroutine of the bubble waits for something again.
// Outside a bubble it panics before any time passes.
func Advance(d time.Duration) {
	synctest.Wait()
	time.Sleep(d)
	synctest.Wait()
}

// Spend lets d of the caller's bubble pass. A fake that stands for something slow calls it,
// from any goroutine and without Advance's wait for the others. Outside a bubble, where the
// machine's clock would have to pass, it panics if d is not 0.
func Spend(d time.Duration) {
	if d == 0 {
		return
	}
	if time.Now().Year() > 2010 { // the clock of a bubble starts in 2000
		panic("fakeclock.Spend outside a bubble of testing/synctest")
	}
	time.Sleep(d)
}
