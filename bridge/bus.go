package bridge

import (
	"context"
	"time"
)

// HintType says why a node is woken.
type HintType uint8

// The hints.
const (
	HintAppended HintType = iota // User has notifications up to Seq
	HintMuted                    // User muted or unmuted, or had one deleted: forget cached items
	HintTakeover                 // Device opened a session of generation Gen: older connections end
	HintEnd                      // orders or revocations for User ("": for anybody) were stored: poll now
)

// Hint wakes a node's pumps. Hints may be lost, doubled or reordered:
// correctness never depends on one.
type Hint struct {
	Type     HintType
	User     UserID
	Seq      Seq    // HintAppended: the last one
	ClientID string // HintTakeover
	Gen      int64  // HintTakeover: connections with a lower generation end
	Node     string // who sent it

	// Items may carry what was appended, ascending, as a cache. It never leaves
	// the process, and is used within HintLife or not at all.
	Items []Notification
	At    time.Time // when the append of Items began
}

// HintLife is how long a cached item may be delivered without reading the log:
// what a mute or delete may lag behind on another node.
const HintLife = time.Second

// Bus carries hints between nodes.
//
// Publish never blocks and never fails: a hint that cannot be sent is dropped,
// and the sweep repairs it. Publish may be called from many goroutines, before,
// during and after Run; hints published while Run is not running may be lost.
//
// Run delivers the other nodes' hints (its own may come back, too) by calling h
// from one goroutine, until ctx ends; it then returns nil. It reconnects by
// itself, and calls h.Reconnected each time hints may have been lost: also once
// at the start, as soon as it listens. h must not block.
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

// HintHandler is woken by a bus.
type HintHandler interface {
	Hint(h Hint)
	Reconnected()
}

// Interest is implemented by a bus that listens per user: the hub tells it when
// a user's first device of this node comes and when the last one goes.
type Interest interface {
	Watch(u UserID)
	Unwatch(u UserID)
}
