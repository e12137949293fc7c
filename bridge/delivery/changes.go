package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// registerEvery is how often a node registers what opened and closed on it.
const registerEvery = time.Second

// connectionChanges are the connections that opened and closed here since they were last
// registered.
type connectionChanges struct {
	mu     sync.Mutex
	opened map[*Conn]struct{}
	closed []bridge.Connection
	all    bool // the others may have forgotten this node: register everything
}

// registered is what connectionChanges know of a connection, under their lock.
type registered struct {
	submitted bool // a call to register it was made: it may be registered, also where the call failed
	closed    bool
}

func (r *connectionChanges) open(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addOpened(c)
}

// enter notes that c is to be registered, unless it closed meanwhile: what
// closed is never registered again, as nothing would remove it.
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
	if c.registered.submitted { // else no node ever heard of it
		r.closed = append(r.closed, c.info())
	}
}

// registerAll has every connection registered again.
func (r *connectionChanges) registerAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = true
}

// drain removes at most limit of what opened and limit of what closed, so that
// neither waits for the other; more reports whether something is left.
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

// giveBack undoes drain, after a call that failed.
func (r *connectionChanges) requeue(opened []*Conn, closed []bridge.Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range opened {
		r.addOpened(c)
	}
	r.closed = append(closed, r.closed...)
}

// register stores in the cluster which connections opened and closed here, one step of
// it. A step that fails is repeated by the next call; those before it count.
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
				n.hub.o.Logger.Warn("the list of connections waits for the database", "error", err)
			}
		}
	})
}

// info describes c to the cluster.
func (c *Conn) info() bridge.Connection {
	return bridge.Connection{Device: c.device, Generation: c.gen, Node: c.hub.o.Node, Protocol: c.request.Protocol,
		Transport: c.request.Transport, Remote: c.request.Remote, Persistent: c.persistent, Since: c.connectedAt}
}
