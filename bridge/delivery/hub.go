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
	Log      LogReader
	States   States // nil: no state messages
	Sessions Sessions
	Feed     Feed
	Cluster  Membership
	Pruner   Pruner           // nil: this node prunes nothing
	Bus      bridge.Publisher // nil: none. One that implements bridge.Interest learns which users to listen for
	Topics   bridge.Topics
	Epoch    func() string // names the life of the log, see bridge.History
	Node     string        // unique among running nodes; "" means a random name
	Logger   *slog.Logger  // nil means slog.Default
	Audit    bridge.Audit  // records subscriptions to other users' topics; nil: they are not recorded
	Tracer   bridge.Tracer // nil: no spans are recorded, but traceparents are still passed on

	Window     int           // most unacknowledged messages per device; 0 means 32
	AckWait    time.Duration // time without an acknowledgement after which a device is disconnected; 0 means 20s
	SessionTTL time.Duration // longest session expiry; 0 means 168h
	Retention  time.Duration // age at which notifications are deleted; 0: never
	AuditAge   time.Duration // age at which entries of the audit log are deleted; 0: never
	ReplayCap  int           // most notifications replayed when a session resumes; 0 means 1000
	Sweep      time.Duration // interval of the sweep, which repairs lost hints; 0 means 5s
	Flush      time.Duration // interval at which cursors are written; 0 means 1s
	Query      time.Duration // deadline of a call to the database; 0 means 2s
	Reads      int           // concurrent reads of the log; 0 means 16
	TokenLife  time.Duration // longest life of a token, after which its revocation is forgotten; 0: no limit
	Kept       int           // most revocations kept in memory; 0 means 1<<20
	Step       int           // most connections or revocations in one call to the database; 0 means 1000
	EndOver    time.Duration // time over which connections end after a restore, so that they do not all reconnect at once; 0: none
	MaxLag     time.Duration // how far an operator's wildcard subscription may fall behind before it ends; 0 means 60s

	// Changed is called for every hint that a log changed; the relay uses it. It must not
	// block. May be nil.
	Changed func()

	// Acks stores what devices without a session acknowledged, or with AllAcks what all
	// devices acknowledged. nil: acknowledgements are stored with cursors only.
	Acks    Acks
	AllAcks bool

	// Refused returns the number of refused CONNECTs, for [Hub.Figures]. May be nil.
	Refused func() int64

	// Observe is called once a notification was written to a device for the first time, and
	// once a device acknowledged one of its own topic. It must not block. May be nil.
	Observe func(Observation)
}

// Transports are the ways in which devices connect: TCP, TLS, and WebSocket over either.
var Transports = []string{"tcp", "tls", "ws", "wss"}

// Observation reports how long after its commit a notification was sent or acknowledged.
type Observation struct {
	Transport string        // one of Transports
	Live      bool          // committed while the device was connected; false: replayed
	Acked     bool          // acknowledged; false: sent
	After     time.Duration // since the commit
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

// Hub is the registry of this node's connections and of the pumps that follow each user's
// log. When it receives a hint, it wakes the pumps that the hint concerns.
//
// Users share as little as possible. The connections and pumps of a user are in the user's
// shard, and cursors that wait to be written are in shards of their own. Lock order: shard.mu
// before Conn.mu before cursorShard.mu. None of these locks is held during I/O.
type Hub struct {
	o      Options
	shards [64]shard
	feeds  feeds // operators' wildcard subscriptions

	// Revocations are the revoked tokens, as of the node's last poll.
	Revocations Revocations

	node       *node
	cursors    *cursors
	acks       acks
	traces     traces
	reads      chan struct{} // semaphore of Options.Reads slots
	readFailed atomic.Bool   // a read failed, so the hub has to sweep soon
	sweep      chan struct{} // wakes the sweep, because hints may have been lost
	figures    figures
	failures   *failures

	followers atomic.Int64 // connections with state messages
}

// NewHub returns a hub. It delivers nothing before [Hub.Poll] has succeeded once. [Hub.Run]
// does the regular work.
func NewHub(o Options) *Hub {
	o = o.withDefaults()
	failed := newFailures(o.Logger)
	h := &Hub{
		o:       o,
		cursors: newCursors(o, failed),
		reads:   make(chan struct{}, o.Reads),
		sweep:   make(chan struct{}, 1),

		failures: failed,
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

// Node returns this node's name, which hints and sessions carry.
func (h *Hub) Node() string { return h.o.Node }

// shard has a part of the users, by hash.
type shard struct {
	mu    sync.Mutex
	users map[bridge.UserID]*entry
}

// entry has the connections and subscribers of one user on this node, guarded by the
// shard's mu. Its slices are replaced and never changed in place, so that they can be read
// after the lock is released.
type entry struct {
	conns          []*Conn    // the user's own connections
	logs           []*userLog // the sources of all pumps that follow the user's log
	itemsValidFrom time.Time  // items in hints of older appends are not used, because a mute or delete followed them

	followers   []*Conn    // those of conns with state messages
	rev         bridge.Rev // of the state last read for them; noRev: unknown
	stale       bool       // the state has changed since
	readPending bool       // readStates is running, or will after stateDelay
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

// change calls f with u's entry under the shard's lock. It creates the entry if there is
// none, and removes it if it is empty afterwards. If the bus listens per user, change makes
// it start or stop listening for u.
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

// entry returns a copy of u's entry, which is empty if u has nothing on this node.
func (h *Hub) entry(u bridge.UserID) entry {
	s := h.shard(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.users[u]; e != nil {
		return *e
	}
	return entry{}
}

// each calls f for every connection of this node, without a lock.
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

// Hint wakes the pumps of this node that hint concerns. It does not block.
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

// broadcast gives a hint to this node and to the others.
func (h *Hub) broadcast(hint bridge.Hint) {
	h.Hint(hint)
	if h.o.Bus != nil {
		h.o.Bus.Publish(hint)
	}
}

// invalidateHints makes the hub ignore items of u's appends that began before now, and
// returns the sources that may have cached such items.
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

// Reconnected is called when the bus has reconnected. It sweeps and polls at once, because
// hints may have been lost.
func (h *Hub) Reconnected() {
	nudge(h.sweep)
	nudge(h.node.pollNow)
}

// nudge wakes the receiver of ch, which has a buffer of one. It never blocks: a wake-up that
// is already pending is enough.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
