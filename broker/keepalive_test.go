package broker

import (
	"bytes"
	"testing"
	"time"
)

func TestKeepAlive(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.dial(at)
		d.send(connect{id: "a", token: "7", clean: true, keepAlive: 1}.packet(at.version))
		d.expectConnack(0)
		begun := time.Now()
		d.expectEnd(codeKeepAlive)
		if took := time.Since(begun); took < 1500*time.Millisecond || took > 4*time.Second {
			t.Errorf("a keep alive of 1 s ended the connection after %v", took)
		}
	})
}

func TestKeepAliveDoesNotOverflow(t *testing.T) {
	everywhere(t, Options{}, func(t *testing.T, w *world, at endpoint) {
		d := w.dial(at)
		d.send(connect{id: "a", token: "7", clean: true, keepAlive: 65535}.packet(at.version)) // × 1.5 exceeds 16 bits
		p := d.expectConnack(0)
		most := map[string]int{"ws": 50}[at.transport]
		if most == 0 {
			most = 1200
		}
		if at.version == 5 && !bytes.Contains(p, appendUint16([]byte{0x13}, most)) {
			t.Errorf("CONNACK % X has no Server Keep Alive", p)
		}
		d.alive()
	})
}

// nginx by default closes a proxied connection after 60 s without a byte from the server.
func TestKeepAliveOverWebSocketStaysBelowProxies(t *testing.T) {
	w := newWorld(t, Options{})
	for asked, set := range map[int]bool{0: true, 30: false, 50: false, 51: true, 60: true, 1200: true} {
		for _, transport := range []string{"ws", "tcp"} {
			d := w.dial(endpoint{transport, 5})
			p := connect{id: "a", token: "7", clean: true}.packet(5)
			s := scan{b: p[1:]}
			s.varint()
			copy(s.b[8:], appendUint16(nil, asked)) // after name, level and flags
			d.send(p)
			got := bytes.Contains(d.expectConnack(0), []byte{0x13, 0, 50})
			if got != (set && transport == "ws") {
				t.Errorf("%s, a keep alive of %d s: a Server Keep Alive of 50 s: %v", transport, asked, got)
			}
		}
	}
}
