package delivery

import (
	"testing"

	"github.com/falconalert/falconbridge/bridge"
)

func TestPacketIDsFollowTheSeq(t *testing.T) {
	for s, want := range map[bridge.Seq]uint16{1: 1, 2: 2, 49152: 49152, 49153: 1, 98304: 49152} {
		if got := PacketID(s); got != want {
			t.Errorf("seq %d has packet id %d, want %d", s, got, want)
		}
	}
	w := window{flights: []flight{{seq: 1}, {seq: 2}}}
	if w.admits(49154) || !w.admits(49155) {
		t.Error("a packet id in flight is used again, or a free one is refused")
	}
}
