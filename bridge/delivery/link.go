package delivery

import "github.com/falconalert/falconbridge/bridge"

// Message is one notification on its way to one device.
type Message struct {
	*bridge.Notification
	Topic       string
	PacketID    uint16 // 0 with QoS 0
	QoS         byte
	Retain      bool
	Dup         bool
	SubID       int // subscription identifier, 0: none
	Epoch       string
	Expiry      uint32 // seconds it has to live, rounded up; 0: it does not expire
	Traceparent string // of the call that made it, or of the span that sends it; "": none is known
	Delivered   bool   // set by the link: false where the device's Maximum Packet Size forbade sending

	end func(error) // of its span; nil: none is recorded
}

// Link writes to one device. The broker creates it, the pumps of a connection use it.
type Link interface {
	// Send writes ms in order, in one write where it can. It blocks for at most the
	// write deadline; after an error the connection is closed. Send sets Delivered on
	// the messages it wrote. It leaves out those over the device's Maximum Packet Size,
	// which count as delivered (MQTT 5 §3.1.2.11.4).
	Send(ms []Message) error

	// SendState writes m, as Send does. It returns false where m is over the device's
	// Maximum Packet Size, and was not written.
	SendState(m StateMessage) (sent bool, err error)

	// End sends the device the reason and closes the connection. It does not block.
	End(r bridge.EndReason)
}
