package api

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// alive returns 200 for as long as the process responds at all.
func (a *api) alive(context.Context, *struct{}) (*healthOutput, error) {
	return &healthOutput{healthBody{"ok"}}, nil
}

// ready returns 503 while the database or the bus is unavailable, and during a drain, so
// that a load balancer sends its clients to other nodes. The reason is only in the log and
// the metrics, because anyone may call it.
func (a *api) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	err := a.readiness.now(ctx)
	a.logReadiness(ctx, err)
	if err != nil {
		return nil, &problem{kind: unavailable, detail: "the node is not ready"}
	}
	return &healthOutput{healthBody{"ready"}}, nil
}

// logReadiness logs only changes of readiness, because load balancers poll.
func (a *api) logReadiness(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) || a.readiness.loggedNotReady.Swap(err != nil) == (err != nil) {
		return
	}
	id := exchangeOf(ctx).r.Header.Get(requestID)
	if err != nil {
		a.o.Logger.Warn("the node is not ready", "request_id", id, "error", err)
		return
	}
	a.o.Logger.Info("the node is ready again", "request_id", id)
}

// readyFor is how long the result of one check of database and bus is reused.
const readyFor = 250 * time.Millisecond

// readiness checks the database and the bus, one check at a time for all callers, because
// anyone may call /readyz and must not be able to load them.
type readiness struct {
	ask  func(ctx context.Context) error // nil: always ready
	wait time.Duration                   // longest time that ask may take

	loggedNotReady atomic.Bool // the last log line says that the node is not ready

	mu   sync.Mutex
	last *verdict // nil: no check so far
}

// verdict is the result of one check, which is running until done is closed.
type verdict struct {
	done  chan struct{}
	err   error
	until time.Time // set before done is closed
}

// now returns the result of a check that is running or at most readyFor old.
func (r *readiness) now(ctx context.Context) error {
	if r.ask == nil {
		return nil
	}
	v := r.current()
	select {
	case <-v.done:
		return v.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *readiness) current() *verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.last; v != nil {
		select {
		case <-v.done:
			if time.Now().Before(v.until) {
				return v
			}
		default:
			return v
		}
	}
	v := &verdict{done: make(chan struct{})}
	r.last = v
	// In a context of its own: the first caller may disconnect while others wait.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), r.wait)
		defer cancel()
		defer close(v.done)
		v.err = r.ask(ctx)
		v.until = time.Now().Add(readyFor)
	}()
	return v
}

type healthBody struct {
	Status string `json:"status" enum:"ok,ready" example:"ok"`
}

type healthOutput struct{ Body healthBody }
