//go:build !linux

package bench

import "time"

// preciseSleep does nothing: only Linux has timer slack.
func preciseSleep() {}

func sleep(d time.Duration) { time.Sleep(d) }
