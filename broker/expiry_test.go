package broker

import (
	"context"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/internal/mqttwire"
)

func TestADeliveryCarriesAMessageExpiryInMQTT5(t *testing.T) {
	n := &bridge.Notification{ID: 1, Seq: 2, User: "7", Kind: "order.shipped", Title: "t", Message: "m", CreatedAt: time.Now(), ExpiresAt: time.Now()}
	for name, tt := range map[string]struct {
		version byte
		expiry  uint32
		want    uint32
	}{
		"MQTT 5":                      {5, 70_000, 70_000},
		"MQTT 5, which never expires": {5, 0, 0},
		"MQTT 3.1.1":                  {4, 70_000, 0},
	} {
		m := delivery.Message{Notification: n, Topic: topic7, QoS: 1, PacketID: 3, SubID: 300, Epoch: "e", Expiry: tt.expiry}
		b := appendPublish(nil, tt.version, &m)
		if n := mqttwire.PacketLen(b); n != len(b) {
			t.Fatalf("%s: the packet has %d bytes, and its length says %d", name, len(b), n)
		}
		b = mqttwire.Body(b)
		pk := packets.Packet{ProtocolVersion: tt.version, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Remaining: len(b)}}
		if err := pk.PublishDecode(b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := pk.Properties.MessageExpiryInterval; got != tt.want || string(pk.Payload) != string(n.Item()) {
			t.Errorf("%s: an expiry of %d s, want %d; payload %s", name, got, tt.want, pk.Payload)
		}
	}
}

// From the append to the retained copy that the device receives.
func TestAnExpiringNotificationIsSentWithItsMessageExpiry(t *testing.T) {
	w := newWorld(t, Options{})
	if _, err := w.svc.Notify(context.Background(), bridge.Draft{User: "7", Title: "T", Message: "M", ExpiresIn: time.Hour}, nil); err != nil {
		t.Fatal(err)
	}
	d := w.login(endpoint{"tcp", 5}, "x", "7")
	d.send(subscribe(5, 9, 0, nil, topic7))
	d.expect("90 04 00 09 00 00")
	if m := d.expectMessage(); m.head&1 == 0 || len(m.props) < 7 || m.props[2] != propMessageExpiry {
		t.Errorf("the retained copy has the first byte %#x and the properties %q", m.head, m.props)
	}
}
