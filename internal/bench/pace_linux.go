package bench

import (
	"syscall"
	"time"
)

// preciseSleep turns off Linux's timer slack for this thread, which by default delays
// wake-ups by up to 50 µs to batch them.
func preciseSleep() {
	const setTimerSlack = 29 // PR_SET_TIMERSLACK
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
}

// sleep blocks the thread for d. If a signal ends it early, one post is early by less than a
// period.
func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil)
}
