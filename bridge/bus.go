package bridge

import (
	"context"
	"time"
)

// HintType is what a hint announces.
type HintType uint8

// The hints.
const (
	HintAppended HintType = iota // User has notifications up to Seq
	HintMuted                    // User muted or unmuted, or a notification was deleted: cached items are invalid, and the state changed
	HintTakeover                 // the device opened a session of generation Gen: older connections end
	HintEnd                      // orders or revocations for User ("": any user) were stored: poll now
	HintState                    // the state of User's inbox changed
)

// Hint wakes nodes that may have something to do for a user. Hints may be lost, duplicated or
// reordered: only how fast something happens depends on them.
type Hint struct {
	Type     HintType
	User     UserID
	Seq      Seq    // HintAppended: the last one
	ClientID string // HintTakeover
	Gen      int64  // HintTakeover: connections with a lower generation end
	Node     string // the node that sent it

	// Traceparent is that of the call that made the notifications From to Seq of a
	// HintAppended; "": unknown. It is sent in hints only and never stored, so replayed
	// notifications have none.
	Traceparent string
	From        Seq

	// Items may have the appended notifications in ascending order, which saves a read of the
	// log. They never leave the process, and are not used after HintLife.
	Items []Notification
	At    time.Time // when the append of Items began
}

// HintLife is how long after the append an item of a hint may be delivered without reading the
// log. It limits how late a mute or delete takes effect on a node that has missed the hint of
// it.
const HintLife = time.Second

// Bus carries hints between nodes.
//
// Publish never blocks and never fails: a hint that cannot be sent is dropped, which the sweep
// repairs. It may be called from many goroutines, before, during and after Run. Hints
// published while Run is not running may be lost.
//
// Run calls h, from one goroutine, with the hints of the other nodes until ctx ends, and then
// returns nil. The node's own hints may come back as well. Run reconnects by itself. It calls
// h.Reconnected whenever hints may have been lost, and once at the start when it listens. h
// must not block.
//
// Ready returns nil while the bus is connected.
type Bus interface {
	Publisher
	Run(ctx context.Context, h HintHandler) error
	Ready() error
}

// Publisher sends hints to the other nodes; see [Bus].
type Publisher interface {
	Publish(hints ...Hint)
}

// HintHandler receives the hints of a bus.
type HintHandler interface {
	Hint(h Hint)
	Reconnected()
}

// Interest is implemented by a bus that listens for hints of single users. The hub calls Watch
// when a user gets the first connection or subscriber on this node, and Unwatch when the last
// one has left.
type Interest interface {
	Watch(u UserID)
	Unwatch(u UserID)
}
