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
