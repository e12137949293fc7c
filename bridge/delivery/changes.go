package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// registerEvery is the interval at which a node registers the connections that opened and
// closed on it.
const registerEvery = time.Second

// connectionChanges has the connections that opened and closed on this node since the last
// registration.
type connectionChanges struct {
	mu     sync.Mutex
	opened map[*Conn]struct{}
	closed []bridge.Connection
	all    bool // the other nodes may have removed this one: register everything
}

// registered is the state of one connection, guarded by connectionChanges.mu.
type registered struct {
	submitted bool // Register was called with it, which may have had an effect even if the call failed
	closed    bool
}

func (r *connectionChanges) open(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addOpened(c)
}

// addOpened records that c is to be registered, unless it has closed meanwhile. A connection
// that has closed must not be registered again, because nothing would remove it.
func (r *connectionChanges) addOpened(c *Conn) {
	if c.registered.closed {
		return
	}
	if r.opened == nil {
		r.opened = make(map[*Conn]struct{})
	}
	r.opened[c] = struct{}{}
}

func (r *connectionChanges) close(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.registered.closed = true
	delete(r.opened, c)
	if c.registered.submitted { // otherwise it was never registered
		r.closed = append(r.closed, c.info())
	}
}

// registerAll makes the next call of node.register register every connection.
func (r *connectionChanges) registerAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = true
}

// drain removes and returns at most limit opened and limit closed connections, so that
// neither list waits for a backlog of the other. more reports whether any are left.
func (r *connectionChanges) drain(limit int) (opened []*Conn, closed []bridge.Connection, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.opened {
		if len(opened) == limit {
			break
		}
		opened = append(opened, c)
		delete(r.opened, c)
		c.registered.submitted = true
	}
	n := min(limit, len(r.closed))
	if closed = r.closed[:n:n]; n == len(r.closed) {
		r.closed = nil
	} else {
		r.closed = r.closed[n:]
	}
	return opened, closed, len(r.opened)+len(r.closed) > 0
}

// requeue undoes drain after a call that failed.
func (r *connectionChanges) requeue(opened []*Conn, closed []bridge.Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range opened {
		r.addOpened(c)
	}
	r.closed = append(closed, r.closed...)
}

// register registers at most Options.Step opened and as many closed connections in the
// cluster. more reports whether there are more. If register fails, the next call repeats
// the same changes.
func (n *node) register(ctx context.Context) (more bool, err error) {
	r, o := &n.changes, &n.hub.o
	r.mu.Lock()
	all := r.all
	r.all = false
	r.mu.Unlock()
	if all {
		n.hub.each(r.open)
	}
	opened, closed, more := r.drain(o.Step)
	if len(opened)+len(closed) == 0 {
		return false, nil
	}
	list := make([]bridge.Connection, len(opened))
	for i, c := range opened {
		list[i] = c.info()
	}
	ctx, cancel := context.WithTimeout(ctx, o.Query)
	defer cancel()
	if err := o.Cluster.Register(ctx, o.Node, list, closed); err != nil {
		r.requeue(opened, closed)
		return false, fmt.Errorf("register %d connections that opened and %d that closed: %w", len(opened), len(closed), err)
	}
	return more, nil
}

// registerRegularly registers all changes every registerEvery until ctx ends.
func (n *node) registerRegularly(ctx context.Context) {
	every(ctx, registerEvery, func() {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = n.register(ctx); err != nil && ctx.Err() == nil {
				n.hub.failures.warn("registering connections failed, will be retried", err)
			}
		}
	})
}

// info returns what the cluster stores of c.
func (c *Conn) info() bridge.Connection {
	return bridge.Connection{Device: c.device, Generation: c.gen, Node: c.hub.o.Node, Protocol: c.request.Protocol,
		Transport: c.request.Transport, Remote: c.request.Remote, Persistent: c.persistent, Since: c.connectedAt}
}
