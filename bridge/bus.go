package bridge

import (
	"context"
	"time"
)

// HintType is why a node is woken.
type HintType uint8

// The hints.
const (
	HintAppended HintType = iota // User has notifications up to Seq
	HintMuted                    // User muted or unmuted, or had a notification deleted: cached items are void
	HintTakeover                 // Device opened a session of generation Gen: older connections end
	HintEnd                      // orders or revocations for User ("": for any user) were stored: poll now
	HintState                    // the state of User's inbox changed, as HintMuted says, too
)

// Hint wakes a node's devices. Hints may be lost, doubled or reordered: nothing but the
// delay of a delivery depends on one.
type Hint struct {
	Type     HintType
	User     UserID
	Seq      Seq    // HintAppended: the last one
	ClientID string // HintTakeover
	Gen      int64  // HintTakeover: connections with a lower generation end
	Node     string // that sent it

	// Traceparent is that of the call that made the notifications From to Seq of a
	// HintAppended; "": it is not known. It travels in hints alone and is never stored, so
	// that what is replayed has none.
	Traceparent string
	From        Seq

	// Items may carry the notifications that were appended, ascending, as a cache. They
	// never leave the process, and are used within HintLife or not at all.
	Items []Notification
	At    time.Time // when the append of Items began
}

// HintLife is how long after its append a cached item may be delivered without reading
// the log. It bounds how late a mute or delete takes effect on a node that misses its
// hint.
const HintLife = time.Second

// Bus carries hints between nodes.
//
// Publish never blocks and never fails: a hint that cannot be sent is dropped,
// and the sweep repairs it. Publish may be called from many goroutines, before,
// during and after Run; hints published while Run is not running may be lost.
//
// Run delivers the hints of the other nodes by calling h from one goroutine, until ctx
// ends; it then returns nil. The node's own hints may come back, too. Run reconnects by
// itself, and calls h.Reconnected each time hints may have been lost, as well as once at
// the start, as soon as it listens. h must not block.
//
// Ready is nil while the bus is connected.
type Bus interface {
	Publisher
	Run(ctx context.Context, h HintHandler) error
	Ready() error
}

// Publisher sends hints to the other nodes; see [Bus].
type Publisher interface {
	Publish(hints ...Hint)
}

// HintHandler receives what a bus carries.
type HintHandler interface {
	Hint(h Hint)
	Reconnected()
}

// Interest is implemented by a bus that listens per user. The hub calls Watch when the
// first connection or subscriber of a user comes to this node, and Unwatch when the last
// one has gone.
type Interest interface {
	Watch(u UserID)
	Unwatch(u UserID)
}
