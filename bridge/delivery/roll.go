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

// roll is what changed among this node's connections since it was last
// registered.
type roll struct {
	mu     sync.Mutex
	opened map[*Conn]struct{}
	closed []bridge.Connection
	all    bool // the others may have forgotten this node: register everything
}

// entered is what the roll knows of a connection, under its lock.
type entered struct {
	asked  bool // a call to register it was made: it may be registered, also where the call failed
	closed bool
}

func (r *roll) open(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(c)
}

// enter notes that c is to be registered, unless it closed meanwhile: what
// closed is never registered again, as nothing would remove it.
func (r *roll) enter(c *Conn) {
	if c.entered.closed {
		return
	}
	if r.opened == nil {
		r.opened = make(map[*Conn]struct{})
	}
	r.opened[c] = struct{}{}
}

func (r *roll) close(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.entered.closed = true
	delete(r.opened, c)
	if c.entered.asked { // else no node ever heard of it
		r.closed = append(r.closed, c.info())
	}
}

func (r *roll) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = true
}

// take removes at most limit of what opened and limit of what closed, so that
// neither waits for the other; more reports whether something is left.
func (r *roll) take(limit int) (opened []*Conn, closed []bridge.Connection, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.opened {
		if len(opened) == limit {
			break
		}
		opened = append(opened, c)
		delete(r.opened, c)
		c.entered.asked = true
	}
	n := min(limit, len(r.closed))
	if closed = r.closed[:n:n]; n == len(r.closed) {
		r.closed = nil
	} else {
		r.closed = r.closed[n:]
	}
	return opened, closed, len(r.opened)+len(r.closed) > 0
}

// giveBack undoes take, after a call that failed.
func (r *roll) giveBack(opened []*Conn, closed []bridge.Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range opened {
		r.enter(c)
	}
	r.closed = append(closed, r.closed...)
}

// register tells the cluster which connections opened and closed here, one step of
// it. A step that fails is repeated by the next call; those before it count.
func (h *Hub) register(ctx context.Context) (more bool, err error) {
	r := &h.roll
	r.mu.Lock()
	all := r.all
	r.all = false
	r.mu.Unlock()
	if all {
		h.each(r.open)
	}
	opened, closed, more := r.take(h.o.Step)
	if len(opened)+len(closed) == 0 {
		return false, nil
	}
	list := make([]bridge.Connection, len(opened))
	for i, c := range opened {
		list[i] = c.info()
	}
	ctx, cancel := context.WithTimeout(ctx, h.o.Query)
	defer cancel()
	if err := h.o.Cluster.Register(ctx, h.o.Node, list, closed); err != nil {
		r.giveBack(opened, closed)
		return false, fmt.Errorf("register %d connections that opened and %d that closed: %w", len(opened), len(closed), err)
	}
	return more, nil
}

func (h *Hub) registrar(ctx context.Context) {
	h.every(ctx, registerEvery, func() {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = h.register(ctx); err != nil && ctx.Err() == nil {
				h.o.Logger.Warn("the list of connections waits for the database", "error", err)
			}
		}
	})
}

// info describes c to the cluster.
func (c *Conn) info() bridge.Connection {
	return bridge.Connection{Device: c.device, Generation: c.gen, Node: c.hub.o.Node, Protocol: c.request.Protocol,
		Transport: c.request.Transport, Remote: c.request.Remote, Persistent: c.persistent, Since: c.at}
}
