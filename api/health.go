package api

import (
	"context"
	"sync"
	"time"
)

// alive answers as long as the process does.
func (a *api) alive(context.Context, *struct{}) (*healthOutput, error) {
	return &healthOutput{healthBody{"ok"}}, nil
}

// ready answers 503 while the database or the bus is unavailable, and during a drain:
// a load balancer then sends nobody here. Why, only the log and the metrics say:
// anyone may ask.
func (a *api) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	if err := a.readiness.now(ctx); err != nil {
		return nil, &problem{kind: unavailable, detail: "the node is not ready"}
	}
	return &healthOutput{healthBody{"ready"}}, nil
}

// readyFor is how long an answer of the database and the bus stands for all.
const readyFor = 250 * time.Millisecond

// readiness asks the database and the bus for everybody who wants to know, one
// question at a time: anyone may ask, and must not load them by it.
type readiness struct {
	ask  func(ctx context.Context) error // nil: always ready
	wait time.Duration                   // longest wait for the answer

	mu   sync.Mutex
	last *verdict // nil: never asked
}

// verdict is one answer, under way until done is closed.
type verdict struct {
	done  chan struct{}
	err   error
	until time.Time // set before done is closed
}

// now returns an answer that is under way or at most readyFor old.
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
	// On its own time: whoever asked first may go, the others still wait.
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
