package bench

import (
	"context"
	"runtime"
	"time"
)

// pace lets posts become due at the run's rate. It sleeps in the kernel, on a
// thread of its own: a Go timer is up to a millisecond late, which would count as
// the server's.
func (r *postRun) pace(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.slots)
	preciseSleep()
	for n := 0; n < r.Max && ctx.Err() == nil && !r.stop.Load(); n++ {
		if wait := time.Duration(r.dueAt(n)) - time.Since(r.y.begun); wait > 0 {
			sleep(wait)
		}
		r.next.Store(int64(n) + 1)
		r.slots <- n // its buffer holds them all
	}
}
