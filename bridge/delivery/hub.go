package delivery

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Options sets up a Hub.
type Options struct {
	Log      Log
	Sessions Sessions
	Feed     Feed
	Cluster  Cluster
	Pruner   Pruner           // nil: nothing is pruned by this node
	Bus      bridge.Publisher // may be nil; told of watched users where it implements Interest
	Topics   bridge.Topics
	Epoch    func() string
	Node     string       // unique among running nodes; "" draws one
	Logger   *slog.Logger // nil means slog.Default

	Window     int           // unacknowledged messages per device, at most; 0 means 32
	AckWait    time.Duration // silence before a device is disconnected; 0 means 20s
	SessionTTL time.Duration // longest session expiry; 0 means 168h
	Retention  time.Duration // age at which notifications are deleted; 0: never
	ReplayCap  int           // notifications replayed at most; 0 means 1000
	Sweep      time.Duration // between repairs of lost hints; 0 means 5s
	Flush      time.Duration // between cursor writes of a device; 0 means 1s
	Query      time.Duration // longest wait for the database; 0 means 2s
	Reads      int           // reads of the log at once; 0 means 16
	TokenLife  time.Duration // longest life of a token, after which its revocation is forgotten; 0: no limit
	Held       int           // revocations kept in memory at most; 0 means 1<<20
	Step       int           // connections and revocations a call to the database carries at most; 0 means 1000
	EndOver    time.Duration // over which all connections end after a restore, so that they come back spread; 0: at once
	MaxLag     time.Duration // age at which an operator's stream has fallen behind; 0 means 60s

	// Changed is called for every hint that a log changed, for the relay; nil:
	// nobody. It must not block.
	Changed func()

	// Refused tells how many CONNECTs were refused, for the figures; nil: unknown.
	Refused func() int64

	// Observe is told how long a message took from its append to its device's
	// socket; nil: nobody. It is called for every live message and must not block.
	Observe func(time.Duration)
}

func (o Options) withDefaults() Options {
	o.Node = cmp.Or(o.Node, rand.Text())
	o.Logger = cmp.Or(o.Logger, slog.Default()).With("component", "hub")
	o.Window = cmp.Or(o.Window, 32)
	o.AckWait = cmp.Or(o.AckWait, 20*time.Second)
	o.SessionTTL = cmp.Or(o.SessionTTL, 168*time.Hour)
	o.ReplayCap = cmp.Or(o.ReplayCap, 1000)
	o.Sweep = cmp.Or(o.Sweep, 5*time.Second)
	o.Flush = cmp.Or(o.Flush, time.Second)
	o.Query = cmp.Or(o.Query, 2*time.Second)
	o.Reads = cmp.Or(o.Reads, 16)
	o.Step = cmp.Or(o.Step, 1000)
	o.Held = cmp.Or(o.Held, 1<<20)
	o.MaxLag = cmp.Or(o.MaxLag, time.Minute)
	return o
}

// Hub knows the live connections of this node and wakes their pumps.
//
// Nothing in it is shared by all users but the table of shards: a user's
// connections, pumps and pending cursor writes live in the user's shard. Lock
// order: shard.mu before Conn.mu before shard.cursorMu; none is held during I/O.
type Hub struct {
	o      Options
	shards [64]shard
	reads  chan struct{} // a place per concurrent read of the log

	// Revocations are the cluster's, as of the last poll, see learn.
	Revocations Revocations

	streams streams       // operators' wildcard subscriptions
	failed  atomic.Bool   // a pump could not read the log: retry soon
	kick    chan struct{} // cursors of closed connections wait to be flushed
	sweep   chan struct{} // hints may have been lost: sweep now
	pollNow chan struct{} // orders or revocations were stored
	figures figures

	started time.Time
	roll    roll
	view    struct {
		mu    sync.Mutex // one poll at a time
		at    time.Time  // of the database, at the last poll
		epoch string
		known bool              // learn has ended a round
		last  bridge.Revocation // that was read, see learn
		begun time.Time         // of the database, when learn began its round; zero: it is over
		fresh atomic.Int64      // begin of the last poll, ns after started, plus one; 0: none yet
	}
	flushing sync.Mutex // one writer of cursors at a time
}

// NewHub returns a hub over o. It delivers at once; Run does its upkeep.
func NewHub(o Options) *Hub {
	o = o.withDefaults()
	h := &Hub{
		o:     o,
		reads: make(chan struct{}, o.Reads),
		kick:  make(chan struct{}, 1),
		sweep: make(chan struct{}, 1),

		pollNow: make(chan struct{}, 1),
		started: time.Now(),
	}
	h.Revocations.life, h.Revocations.bound = o.TokenLife, o.Held
	h.Revocations.ask = func(ctx context.Context, c bridge.Claims) (bool, error) { return o.Cluster.Revoked(ctx, c) }
	for i := range h.shards {
		h.shards[i].users = make(map[bridge.UserID]*entry)
		h.shards[i].cursors = make(map[bridge.Device]bridge.Advance)
		h.shards[i].writing = make(map[bridge.Device]bool)
	}
	return h
}

// Node is this node's name, as hints and sessions carry it.
func (h *Hub) Node() string { return h.o.Node }

// shard holds a part of the users.
type shard struct {
	mu    sync.Mutex
	users map[bridge.UserID]*entry

	cursorMu sync.Mutex                       // innermost: whoever holds it takes no other lock
	cursors  map[bridge.Device]bridge.Advance // waiting to be flushed
	writing  map[bridge.Device]bool           // being flushed
}

// entry is what the hub knows of one connected user. Its slices are replaced,
// never changed in place, so that they can be read outside the lock.
type entry struct {
	conns  []*Conn   // the user's own connections
	pumps  []*pump   // everybody's pumps on the user's topic
	forget time.Time // cached items of appends begun before are not used: a mute or delete came after
}

func (h *Hub) shard(u bridge.UserID) *shard {
	x := uint32(2166136261) // FNV-1a
	for i := range len(u) {
		x = (x ^ uint32(u[i])) * 16777619
	}
	return &h.shards[x%uint32(len(h.shards))]
}

// change runs f on u's entry under the shard's lock, making or removing the
// entry as needed, and tells an interested bus.
func (h *Hub) change(u bridge.UserID, f func(e *entry)) {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.users[u]
	if !known {
		e = &entry{}
	}
	f(e)
	used := len(e.conns)+len(e.pumps) > 0
	switch {
	case used && !known:
		s.users[u] = e
	case !used && known:
		delete(s.users, u)
	}
	if w, ok := h.o.Bus.(bridge.Interest); ok && used != known {
		if used {
			w.Watch(u)
		} else {
			w.Unwatch(u)
		}
	}
}

func (h *Hub) entry(u bridge.UserID) (conns []*Conn, pumps []*pump, forget time.Time) {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.users[u]; e != nil {
		return e.conns, e.pumps, e.forget
	}
	return nil, nil, time.Time{}
}

// each calls f for every connection of this node.
func (h *Hub) each(f func(c *Conn)) {
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		all := make([]*Conn, 0, len(s.users))
		for _, e := range s.users {
			all = append(all, e.conns...)
		}
		s.mu.Unlock()
		for _, c := range all {
			f(c)
		}
	}
}

// Hint wakes the pumps that hint concerns. It does not block.
func (h *Hub) Hint(hint bridge.Hint) {
	if h.o.Changed != nil && (hint.Type == bridge.HintAppended || hint.Type == bridge.HintMuted) {
		h.o.Changed()
	}
	switch hint.Type {
	case bridge.HintAppended:
		_, pumps, forget := h.entry(hint.User)
		if !hint.At.After(forget) || time.Since(hint.At) > bridge.HintLife {
			hint.Items = nil
		}
		for _, p := range pumps {
			p.offer(hint)
		}
		h.streams.wake()
	case bridge.HintMuted:
		s := h.shard(hint.User)
		s.mu.Lock()
		var pumps []*pump
		if e := s.users[hint.User]; e != nil {
			e.forget = time.Now()
			pumps = e.pumps
		}
		s.mu.Unlock()
		for _, p := range pumps {
			p.forget()
		}
	case bridge.HintTakeover:
		conns, _, _ := h.entry(hint.User)
		for _, c := range conns {
			if c.device.ClientID == hint.ClientID && c.gen < hint.Gen {
				c.end(bridge.EndTakenOver)
			}
		}
	case bridge.HintEnd:
		nudge(h.pollNow)
	}
}

// Reconnected sweeps at once: hints may have been lost.
func (h *Hub) Reconnected() {
	nudge(h.sweep)
	nudge(h.pollNow)
}

// nudge wakes whoever waits for ch, without waiting for it.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
