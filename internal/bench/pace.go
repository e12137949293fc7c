package bench

import (
	"context"
	"runtime"
	"time"
)

// pace makes posts due at the run's rate. It sleeps in the kernel, on a thread of its own,
// because a Go timer may be a millisecond late, which would count as the server's latency.
func (r *postRun) pace(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.slots)
	preciseSleep()
	for n := 0; n < r.Max && ctx.Err() == nil && !r.stop.Load(); n++ {
		if wait := time.Duration(r.dueAt(n)) - time.Since(r.y.begun); wait > 0 {
			sleep(wait)
		}
		r.next.Store(int64(n) + 1)
		r.slots <- n // never blocks: the buffer has room for all posts
	}
}
