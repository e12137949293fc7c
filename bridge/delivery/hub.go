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
	States   States // nil: there are no state messages
	Sessions Sessions
	Feed     Feed
	Cluster  Cluster
	Pruner   Pruner           // nil: nothing is pruned by this node
	Bus      bridge.Publisher // may be nil; where it implements Interest, it learns whom to listen for
	Topics   bridge.Topics
	Epoch    func() string
	Node     string        // unique among running nodes; "" draws one
	Logger   *slog.Logger  // nil means slog.Default
	Tracer   bridge.Tracer // nil: nothing is traced here; a call's traceparent is handed on all the same

	Window     int           // unacknowledged messages per device, at most; 0 means 32
	AckWait    time.Duration // silence before a device is disconnected; 0 means 20s
	SessionTTL time.Duration // longest session expiry; 0 means 168h
	Retention  time.Duration // age at which notifications are deleted; 0: never
	AuditAge   time.Duration // age at which entries of the audit log are removed; 0: never
	ReplayCap  int           // notifications replayed at most; 0 means 1000
	Sweep      time.Duration // between repairs of lost hints; 0 means 5s
	Flush      time.Duration // between cursor writes of a device; 0 means 1s
	Query      time.Duration // longest wait for the database; 0 means 2s
	Reads      int           // reads of the log at once; 0 means 16
	TokenLife  time.Duration // longest life of a token, after which its revocation is forgotten; 0: no limit
	Kept       int           // revocations kept in memory at most; 0 means 1<<20
	Step       int           // connections and revocations a call to the database carries at most; 0 means 1000
	EndOver    time.Duration // over which all connections end after a restore, so that they come back spread; 0: at once
	MaxLag     time.Duration // age at which an operator's stream has fallen behind; 0 means 60s

	// Changed is called for every hint that a log changed; the relay uses it. It must
	// not block. May be nil.
	Changed func()

	// Acks stores what devices without a session acknowledged, and with AllAcks what all
	// did; nil: nothing does.
	Acks    Acks
	AllAcks bool

	// Refused returns how many CONNECTs were refused, for the figures. May be nil.
	Refused func() int64

	// Observe is called for every notification that was written to a device's socket for
	// the first time, and for every one of the device's own topic that it acknowledged. It
	// must not block. May be nil.
	Observe func(Observation)
}

// Transports are what devices connect over: TCP, TLS, and WebSocket over either.
var Transports = []string{"tcp", "tls", "ws", "wss"}

// Observation is how long after its commit a notification was sent or acknowledged.
type Observation struct {
	Transport string // one of Transports
	Live      bool   // committed while the device was connected; the rest is replayed
	Acked     bool   // else sent
	After     time.Duration
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
	o.Kept = cmp.Or(o.Kept, 1<<20)
	o.MaxLag = cmp.Or(o.MaxLag, time.Minute)
	return o
}

// Hub is the registry of this node's connections, and of which pumps follow which
// user's log. A hint comes in, and the pumps that it concerns are woken.
//
// Nothing in it is shared by all users but the table of shards: a user's connections
// and pumps live in the user's shard, and cursors that wait to be written in shards of
// their own. Lock order: shard.mu before Conn.mu before cursorShard.mu; none is held
// during I/O.
type Hub struct {
	o      Options
	shards [64]shard
	feeds  feeds // operators' wildcard subscriptions

	// Revocations are the cluster's, as of the node's last poll.
	Revocations Revocations

	node       *node
	cursors    *cursors
	acks       acks
	traces     traces
	reads      chan struct{} // has a slot for each concurrent read of the log
	readFailed atomic.Bool   // a pump could not read the log: sweep soon
	sweep      chan struct{} // hints may have been lost: sweep now
	figures    figures

	followers atomic.Int64 // connections that are sent state messages
}

// NewHub returns a hub over o. It delivers as soon as [Hub.Poll] has succeeded; Run
// does its upkeep.
func NewHub(o Options) *Hub {
	o = o.withDefaults()
	h := &Hub{
		o:       o,
		cursors: newCursors(o),
		reads:   make(chan struct{}, o.Reads),
		sweep:   make(chan struct{}, 1),
	}
	h.acks.pending = make(map[ackKey]bridge.Ack)
	h.node = newNode(h)
	h.Revocations.life, h.Revocations.limit = o.TokenLife, o.Kept
	h.Revocations.ask = func(ctx context.Context, c bridge.Claims) (bool, error) { return o.Cluster.Revoked(ctx, c) }
	for i := range h.shards {
		h.shards[i].users = make(map[bridge.UserID]*entry)
	}
	return h
}

// Node is this node's name, as hints and sessions carry it.
func (h *Hub) Node() string { return h.o.Node }

// shard holds a part of the users.
type shard struct {
	mu    sync.Mutex
	users map[bridge.UserID]*entry
}

// entry is what the hub knows of one user with a connection or a subscriber here. Its
// slices are replaced, never changed in place, so that they can be read outside the
// lock.
type entry struct {
	conns          []*Conn    // the user's own connections
	logs           []*userLog // the user's log as the pumps that follow it read it
	itemsValidFrom time.Time  // cached items of appends begun before are not used: a mute or delete came after

	followers   []*Conn    // those of conns that are sent state messages
	rev         bridge.Rev // of the state that was last read for them; forgone: not known
	stale       bool       // the state is to be read
	readPending bool       // it is, or will be after stateRest
}

// hash is FNV-1a.
func hash(u bridge.UserID) uint32 {
	x := uint32(2166136261)
	for i := range len(u) {
		x = (x ^ uint32(u[i])) * 16777619
	}
	return x
}

func (h *Hub) shard(u bridge.UserID) *shard { return &h.shards[hash(u)%uint32(len(h.shards))] }

// change runs f on u's entry under the shard's lock, makes or removes the entry as
// needed, and has a bus that listens per user begin or stop to listen.
func (h *Hub) change(u bridge.UserID, f func(e *entry)) {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.users[u]
	if !known {
		e = &entry{}
	}
	f(e)
	used := len(e.conns)+len(e.logs) > 0
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

// entry returns a copy of what the hub knows of u.
func (h *Hub) entry(u bridge.UserID) entry {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.users[u]; e != nil {
		return *e
	}
	return entry{}
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
		e := h.entry(hint.User)
		if !hint.At.After(e.itemsValidFrom) || time.Since(hint.At) > bridge.HintLife {
			hint.Items = nil
		}
		if hint.Traceparent != "" && (len(e.logs) > 0 || h.feeds.nonEmpty()) {
			defer h.traceHint(hint)(nil)
		}
		for _, l := range e.logs {
			l.offer(hint)
		}
		h.feeds.wake()
	case bridge.HintMuted:
		for _, l := range h.invalidateHints(hint.User) {
			l.invalidate()
		}
		h.stateChanged(hint.User)
	case bridge.HintState:
		h.stateChanged(hint.User)
	case bridge.HintTakeover:
		for _, c := range h.entry(hint.User).conns {
			if c.device.ClientID == hint.ClientID && c.gen < hint.Gen {
				c.end(bridge.EndTakenOver)
			}
		}
	case bridge.HintEnd:
		nudge(h.node.pollNow)
	}
}

// tell hands a hint to this node and to the others.
func (h *Hub) broadcast(hint bridge.Hint) {
	h.Hint(hint)
	if h.o.Bus != nil {
		h.o.Bus.Publish(hint)
	}
}

// forget makes cached items of u's appends that began before now unusable, and returns
// the logs that have to drop theirs.
func (h *Hub) invalidateHints(u bridge.UserID) []*userLog {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.users[u]
	if e == nil {
		return nil
	}
	e.itemsValidFrom = time.Now()
	return e.logs
}

// Reconnected sweeps at once: hints may have been lost.
func (h *Hub) Reconnected() {
	nudge(h.sweep)
	nudge(h.node.pollNow)
}

// nudge wakes the receiver of ch, which has a buffer of one. It never blocks: a wake-up
// that is pending already serves for this one, too.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
