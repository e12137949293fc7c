package delivery

import "github.com/falconalert/falconbridge/bridge"

// Message is one notification on its way to one device.
type Message struct {
	*bridge.Notification
	Topic     string
	PacketID  uint16 // 0 with QoS 0
	QoS       byte
	Retain    bool
	Dup       bool
	SubID     int // subscription identifier, 0: none
	Epoch     string
	Delivered bool // set by the link: false where the device's Maximum Packet Size forbade sending
}

// Link is the way to one device, created by broker and driven by a pump.
type Link interface {
	// Send writes ms in order, in one write where it can. It blocks at most the
	// write deadline; after an error the connection is closed. A message over
	// the device's Maximum Packet Size is left out, which counts as delivered
	// (MQTT 5 §3.1.2.11.4): Send sets Delivered on the ones it wrote.
	Send(ms []Message) error

	// End tells the device why and closes the connection. It does not block.
	End(r bridge.EndReason)
}
