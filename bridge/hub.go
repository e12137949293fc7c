package bridge

import (
	"context"
	"time"
)

// Options sets up a Hub.
type Options struct {
	Log      Log
	Sessions Sessions
	Feed     Feed
	Bus      Bus // may be nil; told of watched users where it implements Interest
	Topics   Topics
	Epoch    func() string
	Node     string // unique among running nodes; "" draws one

	Window     int           // unacknowledged messages per device, at most; 0 means 32
	AckWait    time.Duration // silence before a device is disconnected; 0 means 20s
	SessionTTL time.Duration // longest session expiry; 0 means 168h
	ReplayCap  int           // notifications replayed at most; 0 means 1000
	Sweep      time.Duration // between repairs of lost hints; 0 means 5s
	Flush      time.Duration // between cursor writes of a device; 0 means 1s
}

// Hub knows the live connections of this node and wakes their pumps.
type Hub struct{ o Options }

// NewHub returns a hub over o. It delivers at once; Run does its upkeep.
func NewHub(o Options) *Hub { return &Hub{o: o} }

// Run sweeps, flushes cursors and beats until ctx ends, then flushes what is left.
func (h *Hub) Run(ctx context.Context) error { return nil }

// Hint wakes the pumps that h concerns. It does not block.
func (h *Hub) Hint(hint Hint) {}

// Reconnected wakes everybody: hints may have been lost.
func (h *Hub) Reconnected() {}

// ConnectRequest is what a CONNECT asks for, after its token was verified.
type ConnectRequest struct {
	Device         Device
	Claims         Claims
	Clean          bool
	Expiry         time.Duration // 0: not persistent; cut to SessionTTL
	ReceiveMaximum int           // 0 means 65535 (MQTT 5 §3.1.2.11.3)
	Protocol       byte          // 4 or 5
	Transport      string        // "tcp", "tls", "ws", "wss"
	Remote         string        // address
}

// Connect opens the device's session and registers the connection; an older
// connection of the same device ends with EndTakenOver. Nothing is sent before
// [Conn.Resume]. present is the CONNACK's session present flag.
// It fails with ErrUnavailable while the database is away.
func (h *Hub) Connect(ctx context.Context, r ConnectRequest, l Link) (c *Conn, present bool, err error) {
	return nil, false, nil
}

// Conn is one live connection of a device. Its methods may be called from any
// goroutine; none blocks but Subscribe and Unsubscribe, which use the database.
type Conn struct{}

// SubscribeRequest is one filter of a SUBSCRIBE.
type SubscribeRequest struct {
	Filter string
	Subscription
	RetainHandling byte // 0, 1 or 2 (MQTT 5 §3.8.3.1)
	Since          *Seq // the since user property: replay after it, in place of the retained message
}

// May tells whether the connection's claims allow the filter; see [Topics.Parse].
func (c *Conn) May(filter string) bool { return false }

// Subscribe stores the subscription. When it returns nil the SUBACK may grant
// it; nothing is sent for it before [Conn.Activate]. It fails with ErrForbidden
// where May is false, with ErrUnavailable while the database is away.
func (c *Conn) Subscribe(ctx context.Context, r SubscribeRequest) error { return nil }

// Activate starts delivery of the filter, after its SUBACK was written: first
// the retained copy, where one is due.
func (c *Conn) Activate(filter string) {}

// Unsubscribe ends delivery of the filter; existed is false where there was none.
func (c *Conn) Unsubscribe(ctx context.Context, filter string) (existed bool, err error) {
	return false, nil
}

// Resume starts delivery of a resumed subscription, after the CONNACK was written.
func (c *Conn) Resume() {}

// Ack completes the message with that packet id, whatever its reason code
// (MQTT 5 §4.4). It never blocks.
func (c *Conn) Ack(packetID uint16) {}

// Renew replaces the claims (MQTT 5 AUTH); the user must be the same.
// Subscriptions the new claims do not allow end the connection.
func (c *Conn) Renew(claims Claims) error { return nil }

// SetExpiry replaces the session expiry (DISCONNECT may carry one, MQTT 5 §3.14.2.2.2).
func (c *Conn) SetExpiry(d time.Duration) {}

// Close unregisters the connection after its link ended, and leaves its cursor
// to be flushed. It may be called twice.
func (c *Conn) Close() {}

// Ended tells whether End was called on the link by the hub, and why.
func (c *Conn) Ended() (EndReason, bool) { return 0, false }
