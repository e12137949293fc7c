// Package bus holds what the buses below it share: the form of a hint on its
// way, the queue in front of a connection, the patience between two attempts to
// connect, and the counters. Each bus is a package of its own and implements
// [bridge.Bus]; bustest holds the one suite that all of them pass.
package bus

import (
	"sync/atomic"
)

// Stats count what a bus did since it was made.
type Stats struct {
	Sent       int64 // hints handed to the server
	Dropped    int64 // hints lost here: the queue was full, or sending failed
	Received   int64 // other nodes' hints handed to the handler
	Reconnects int64 // times the connection came back after it was lost
}

// Counters are the Stats while they count. The zero value is ready to use.
type Counters struct {
	Sent, Dropped, Received, Reconnects atomic.Int64
}

// Stats returns the counters of this moment.
func (c *Counters) Stats() Stats {
	return Stats{c.Sent.Load(), c.Dropped.Load(), c.Received.Load(), c.Reconnects.Load()}
}
