package broker

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mochiVersion is the version of mochi that the hook was written for.
const mochiVersion = "v2.7.9"

const mochiChanged = "\nThe hook relies on what mochi does between its calls: read the package comment and docs/decisions/0012, " +
	"compare mochi's attachClient, processSubscribe and processUnsubscribe, then change this test."

func TestMochiIsTheVersionThatTheHookWasWrittenFor(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`mochi-mqtt/server/v2 (\S+)`).FindSubmatch(mod)
	if m == nil {
		t.Fatal("go.mod has no mochi-mqtt/server/v2")
	}
	if string(m[1]) != mochiVersion {
		t.Errorf("go.mod has mochi %s, the hook was written for %s.%s", m[1], mochiVersion, mochiChanged)
	}
}

// recorder records the hooks that mochi calls, and passes them on.
type recorder struct {
	*hook
	pinged chan struct{} // a PINGREQ was processed
	mu     sync.Mutex
	events []string
}

func (r *recorder) note(event string, pk *packets.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pk != nil {
		event += " " + packets.PacketNames[pk.FixedHeader.Type]
	}
	r.events = append(r.events, event)
}

// drain returns the recorded events, without immediate repeats.
func (r *recorder) drain() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := slices.Compact(r.events)
	r.events = nil
	return events
}

func (r *recorder) Provides(b byte) bool {
	return r.hook.Provides(b) || b == mqtt.OnSessionEstablish || b == mqtt.OnPacketSent || b == mqtt.OnSubscribe || b == mqtt.OnUnsubscribed
}

func (r *recorder) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	r.note("OnPacketRead", &pk)
	return r.hook.OnPacketRead(cl, pk)
}

func (r *recorder) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	r.note("OnConnect", nil)
	return r.hook.OnConnect(cl, pk)
}

func (r *recorder) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	r.note("OnConnectAuthenticate", nil)
	return r.hook.OnConnectAuthenticate(cl, pk)
}

func (r *recorder) OnSessionEstablish(*mqtt.Client, packets.Packet) {
	r.note("OnSessionEstablish", nil)
}

func (r *recorder) OnSessionEstablished(cl *mqtt.Client, pk packets.Packet) {
	r.note("OnSessionEstablished", nil)
	r.hook.OnSessionEstablished(cl, pk)
}

func (r *recorder) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	r.note("OnACLCheck", nil)
	return r.hook.OnACLCheck(cl, topic, write)
}

func (r *recorder) OnSubscribe(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	r.note("OnSubscribe", nil)
	return pk
}

func (r *recorder) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	r.note("OnSubscribed", nil)
	r.hook.OnSubscribed(cl, pk, codes)
}

func (r *recorder) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	r.note("OnUnsubscribe", nil)
	return r.hook.OnUnsubscribe(cl, pk)
}

func (r *recorder) OnUnsubscribed(*mqtt.Client, packets.Packet) { r.note("OnUnsubscribed", nil) }

func (r *recorder) OnAuthPacket(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	r.note("OnAuthPacket", nil)
	return r.hook.OnAuthPacket(cl, pk)
}

func (r *recorder) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	r.note("OnPacketEncode", &pk)
	return r.hook.OnPacketEncode(cl, pk)
}

func (r *recorder) OnPacketSent(_ *mqtt.Client, pk packets.Packet, _ []byte) {
	r.note("sent", &pk)
}

func (r *recorder) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	r.note("OnPacketProcessed", &pk)
	r.hook.OnPacketProcessed(cl, pk, err)
	if pk.FixedHeader.Type == packets.Pingreq {
		r.pinged <- struct{}{}
	}
}

func TestMochiCallsItsHooksInTheOrderThatWeRelyOn(t *testing.T) {
	w := newWorld(t, Options{})
	r := &recorder{hook: &hook{b: w.broker}, pinged: make(chan struct{}, 16)}
	server, err := newServer(&w.broker.o, r)
	if err != nil {
		t.Fatal(err)
	}
	w.broker.mu.Lock() // so does start
	w.broker.mochi = server
	w.broker.mu.Unlock()

	d := w.dial(endpoint{"tcp", 5})
	unsubscribe := packet(0xA2, appendText([]byte{0, 9, 0}, topic7))
	publish := packet(0x32, append(appendText(nil, topic7), 0, 1, 0, 'x'))
	for _, step := range []struct {
		send   []byte
		expect string
		want   string
	}{
		{connect{id: "a", token: "7", clean: true, props: []byte{0x15, 0, 3, 'j', 'w', 't'}}.packet(5), "20 ..",
			"OnPacketRead Connect, OnConnect, OnConnectAuthenticate, OnSessionEstablish, " +
				"OnPacketEncode Connack, sent Connack, OnSessionEstablished, OnUnsubscribed"}, // the last one is of the client of the handshake, which ends
		{subscribe(5, 1, 1, nil, topic7, "#"), "90 05 00 01 00 01 87",
			"OnPacketRead Subscribe, OnSubscribe, OnACLCheck, OnSubscribed, OnPacketEncode Suback, sent Suback, " +
				"OnPacketProcessed Subscribe, OnUnsubscribed"},
		{unsubscribe, "B0 04 00 09 00 00",
			"OnPacketRead Unsubscribe, OnUnsubscribe, OnUnsubscribed, OnPacketEncode Unsuback, sent Unsuback, OnPacketProcessed Unsubscribe"},
		{publish, "40 ..", "OnPacketRead Publish, OnACLCheck, OnPacketEncode Puback, sent Puback, OnPacketProcessed Publish"},
		{auth("7"), "F0 ..", "OnPacketRead Auth, OnAuthPacket, OnPacketEncode Auth, sent Auth, OnPacketProcessed Auth"},
	} {
		d.send(step.send)
		d.expect(step.expect)
		d.send([]byte{0xC0, 0}) // once this has a response, what follows the former response is done
		d.expect("D0 00")
		<-r.pinged
		got, _, _ := strings.Cut(strings.Join(r.drain(), ", "), ", OnPacketRead Pingreq")
		if got != step.want {
			t.Errorf("mochi %s calls\n%s, the hook was written for\n%s.%s", mochiVersion, got, step.want, mochiChanged)
		}
	}
}
