package broker

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// crashPacket is a SUBSCRIBE without options, past whose end mochi's decoder reads.
var crashPacket = []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}

func corpus() [][]byte {
	return [][]byte{
		crashPacket,
		connect{id: "phone", token: "7", clean: true}.packet(4),
		connect{id: "phone", token: "7", props: []byte{0x11, 0, 0, 0, 60, 0x21, 0, 5, 0x27, 0, 0, 1, 0}}.packet(5),
		connect{id: "a", will: []byte{0, 0, 1, 't', 0, 1, 'p'}, user: "u", token: "t"}.packet(5),
		connect{id: "a", will: []byte{0, 1, 't', 0, 0}, willFlags: 0x28}.packet(4),
		subscribe(4, 1, 1, nil, topic7, "#"),
		subscribe(5, 1, 0x2D, append([]byte{0x0B, 0x80, 1, propUser}, appendText(appendText(nil, "since"), "3")...), topic7, "$share/g/a/+"),
		packet(0xA2, append([]byte{0, 7, 0}, appendText(nil, topic7)...)),
		packet(0x32, append(appendText(nil, "t"), 0, 1, 0, 'x')),
		packet(0x3D, append(appendText(nil, "t"), 0, 1, 5, 2, 0, 0, 0, 1, 'x')),
		{0x40, 2, 0, 1}, {0x40, 4, 0, 1, 0x80, 0}, {0x50, 3, 0, 1, 0}, {0x62, 2, 0, 1}, {0x70, 2, 0, 1},
		{0xC0, 0}, {0xE0, 0}, {0xE0, 7, 0, 5, 0x11, 0, 0, 0, 1},
		packet(0xF0, append([]byte{0x19, 6}, append([]byte{0x15}, appendText(nil, "jwt")...)...)),
	}
}

// FuzzStrict checks that mochi decodes every packet that strict accepts, without an error
// or a panic, and that strict refuses the others with a reason code.
func FuzzStrict(f *testing.F) {
	for _, p := range corpus() {
		f.Add(byte(4), p)
		f.Add(byte(5), p)
	}
	f.Fuzz(func(t *testing.T, version byte, p []byte) {
		n, err := packetLen(p, 1<<16)
		if err != nil || n == 0 || n > len(p) {
			return
		}
		p = p[:n]
		version = 4 + version&1
		_, check := strict(version, p)
		if p[0] == packets.Connect<<4 {
			check, version = checkConnect(p), versionOf(p)
		}
		before := bytes.Clone(p)
		if check != nil {
			if code, _ := codeOf(check); code < codeUnspecified {
				t.Fatalf("% X is refused without a code: %v", p, check)
			}
			return
		}
		pk, err := decodeByMochi(version, p)
		if err != nil {
			t.Fatalf("strict accepts % X, mochi does not: %v", p, err)
		}
		if !bytes.Equal(p, before) {
			t.Fatal("decoding changed the connection's buffer")
		}
		for _, s := range pk.Filters {
			if s.Filter == "" || s.Qos > 2 || s.RetainHandling > 2 {
				t.Fatalf("% X gives the subscription %+v", p, s)
			}
		}
		if pk.FixedHeader.Type != packets.Connect && pk.FixedHeader.Type != packets.Publish {
			_, _, _ = subscribeProperties(pk.Properties.User)
		}
	})
}

// decodeByMochi decodes one packet as mochi's server does.
func decodeByMochi(version byte, p []byte) (packets.Packet, error) {
	cl := plainServer.NewClient(&chunkedConn{stream: p, piece: len(p)}, "", "", false)
	cl.Properties.ProtocolVersion = version
	fh := new(packets.FixedHeader)
	if err := cl.ReadFixedHeader(fh); err != nil {
		return packets.Packet{}, err
	}
	return cl.ReadPacket(fh)
}

var plainServer = mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})

// FuzzPacketLen checks that no length over the limit is accepted, and that the length of a
// packet does not depend on the bytes that follow it.
func FuzzPacketLen(f *testing.F) {
	f.Add([]byte{0x10, 0xFF, 0xFF, 0xFF, 0x7F}, 1<<14)
	f.Add([]byte{0xC0, 0x80, 0x00}, 100)
	for _, p := range corpus() {
		f.Add(p, 1<<10)
	}
	f.Fuzz(func(t *testing.T, p []byte, limit int) {
		n, err := packetLen(p, limit)
		var fault *fault
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("%v is not a fault", err)
		}
		if n > max(limit, 0) {
			t.Fatalf("a packet of %d bytes is within the limit of %d", n, limit)
		}
		if n > 0 && n < len(p) {
			if m, err := packetLen(p[:n], limit); m != n || err != nil {
				t.Fatalf("% X is %d bytes long, alone %d, %v", p, n, m, err)
			}
		}
	})
}

// FuzzFrames checks that the WebSocket framing does not depend on how the network splits
// the bytes: the MQTT bytes and the error are the same.
func FuzzFrames(f *testing.F) {
	for _, p := range corpus() {
		f.Add(clientFrame(0x82, p), uint16(3))
	}
	fragments := append(clientFrame(0x02, []byte{0xC0}), clientFrame(0x89, []byte("ping"))...)
	f.Add(append(fragments, clientFrame(0x80, []byte{0})...), uint16(1))
	f.Add(clientFrame(0x81, []byte("text")), uint16(2))
	f.Add(clientFrame(0x88, []byte{3, 0xE8, 'b'}), uint16(5))
	f.Add([]byte{0x82, 0xFF, 0, 0, 0, 0x80, 0, 0, 0, 0}, uint16(9))
	f.Add([]byte{0x82, 2, 0xC0, 0}, uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		whole, pongs, end := unframe(stream, len(stream))
		pieces, again, endAgain := unframe(stream, 1+int(cut)%64)
		if !bytes.Equal(whole, pieces) || !bytes.Equal(pongs, again) || !errors.Is(end, endAgain) {
			t.Fatalf("% X gives % X, % X, %v at once, and % X, % X, %v in pieces", stream, whole, pongs, end, pieces, again, endAgain)
		}
		if len(whole)+len(pongs) > len(stream) {
			t.Fatal("there are more MQTT bytes than bytes in the frames")
		}
	})
}

// unframe feeds stream in pieces of n bytes.
func unframe(stream []byte, n int) (out, pongs []byte, end error) {
	var w wsReader
	pong := func(_ byte, b []byte) error {
		pongs = append(pongs, b...)
		return nil
	}
	for len(stream) > 0 {
		piece := bytes.Clone(stream[:min(n, len(stream))])
		stream = stream[len(piece):]
		m, err := w.feed(piece, pong)
		out = append(out, piece[:m]...)
		if err != nil {
			return out, pongs, err
		}
		if cap(w.control) > 1<<10 {
			panic("a control frame grew")
		}
	}
	return out, pongs, nil
}
