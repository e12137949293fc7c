package delivery

import "github.com/falconalert/falconbridge/bridge"

// Message is one notification for one device, as a PUBLISH.
type Message struct {
	*bridge.Notification
	Topic       string
	PacketID    uint16 // 0 with QoS 0
	QoS         byte
	Retain      bool
	Dup         bool
	SubID       int // Subscription Identifier; 0: none
	Epoch       string
	Expiry      uint32 // Message Expiry Interval in seconds, rounded up; 0: does not expire
	Traceparent string // of the call that made it, or of the span that sends it; "": unknown
	Delivered   bool   // set by the link; false: exceeds the device's Maximum Packet Size

	end func(error) // ends its span; nil: not recorded
}

// Link writes to one device. The broker implements it, and the pumps of a connection use it.
type Link interface {
	// Send writes ms in order, in as few writes as possible, and blocks no longer than the
	// write timeout. After an error the connection is closed. Send sets Delivered on the
	// messages that it wrote. It does not write those that exceed the device's Maximum Packet
	// Size; they count as delivered (MQTT 5 §3.1.2.11.4).
	Send(ms []Message) error

	// SendState writes m. It returns false if m exceeds the device's Maximum Packet Size and
	// was not written. Otherwise it is like Send.
	SendState(m StateMessage) (sent bool, err error)

	// End tells the device the reason, where its protocol version can, and closes the
	// connection. It does not block.
	End(r bridge.EndReason)
}
