package mqttwire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestAPublishDecodesToWhatWasEncoded(t *testing.T) {
	payload := bytes.Repeat([]byte("p"), 300)
	p := AppendPublish(nil, "users/7/reports/status", 258, payload)
	for n := range p {
		if PacketLen(p[:n]) != 0 {
			t.Fatalf("%d of %d bytes count as a complete packet", n, len(p))
		}
	}
	if n := PacketLen(append(p, Puback, 2, 0, 1)); n != len(p) {
		t.Fatalf("the packet has %d bytes, not %d", n, len(p))
	}
	m, err := ParsePublish(p, 5)
	if err != nil || m.ID != 258 || m.Retain || string(m.Topic) != "users/7/reports/status" || !bytes.Equal(m.Payload, payload) {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = ParsePublish([]byte{Publish | 1, 4, 0, 1, 't', 'p'}, 4); err != nil || !m.Retain || string(m.Topic) != "t" || string(m.Payload) != "p" {
		t.Errorf("of MQTT 3.1.1: %+v, %v", m, err)
	}
}

func TestATruncatedPublishIsMalformed(t *testing.T) {
	whole := Body(AppendPublish(nil, "users/7", 1, nil))
	for n := range whole {
		if _, err := ParsePublish(AppendPacket(nil, Publish|2, whole[:n]), 5); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes of the body were read: %v", n, len(whole), err)
		}
	}
}

// The values are the examples of MQTT 5, table 1-1.
func TestVarintsMatchTheSpecification(t *testing.T) {
	for n, want := range map[int][]byte{
		0: {0}, 127: {0x7F}, 128: {0x80, 1}, 16_383: {0xFF, 0x7F}, 16_384: {0x80, 0x80, 1},
		2_097_151: {0xFF, 0xFF, 0x7F}, 2_097_152: {0x80, 0x80, 0x80, 1}, 268_435_455: {0xFF, 0xFF, 0xFF, 0x7F},
	} {
		if got := AppendVarint(nil, n); !bytes.Equal(got, want) {
			t.Errorf("%d is encoded as % X, want % X", n, got, want)
		}
		if got, size := Varint(append(want, 0xFF)); got != n || size != len(want) {
			t.Errorf("% X is decoded as %d of %d bytes", want, got, size)
		}
		if _, size := Varint(want[:len(want)-1]); size != 0 {
			t.Errorf("% X without its last byte is decoded", want)
		}
	}
	if _, size := Varint([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1}); size != -1 {
		t.Error("five bytes are decoded")
	}
}

func TestPacketsAreReadFromAStream(t *testing.T) {
	p := AppendPublish(nil, "t", 1, make([]byte, 200))
	r := iotest.OneByteReader(bytes.NewReader(append(p, Pingresp, 0)))
	for _, want := range [][]byte{p, {Pingresp, 0}} {
		if got, err := ReadPacket(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("% X, %v", got, err)
		}
	}
	if _, err := ReadPacket(r); err != io.EOF {
		t.Errorf("the end of the stream is %v", err)
	}
	if _, err := ReadPacket(bytes.NewReader(p[:50])); err != io.ErrUnexpectedEOF {
		t.Errorf("the end within a packet is %v", err)
	}
	if _, err := ReadPacket(bytes.NewReader([]byte{Publish, 0xFF, 0xFF, 0xFF, 0xFF})); !errors.Is(err, ErrMalformed) {
		t.Errorf("an endless length is %v", err)
	}
}
