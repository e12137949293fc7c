//go:build !linux

package bench

import "time"

// preciseSleep has nothing to ask for elsewhere.
func preciseSleep() {}

func sleep(d time.Duration) { time.Sleep(d) }
