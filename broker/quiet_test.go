package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// The text of a panic may quote the packet. Neither the log nor the device gets more than
// the fact that there was one.
func TestAPanicEndsOneConnectionAndLeaksNothing(t *testing.T) {
	log := &lockedBuffer{}
	o := Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	everywhere(t, o, func(t *testing.T, w *world, at endpoint) {
		other := w.login(at, "other", "8")
		d := w.dial(at)
		d.send(connect{id: "a", token: "panic", clean: true}.packet(at.version))
		d.expectEnd(0)
		other.alive()
		w.login(at, "a", "7").alive()
		if at.version == 5 { // and after the login
			d := w.dial(at)
			d.send(connect{id: "b", token: "7", clean: true, props: []byte{0x15, 0, 3, 'j', 'w', 't'}}.packet(5))
			d.expectConnack(0)
			d.send(auth("panic"))
			if last := d.last(); bytes.Contains(last, []byte("Geheimnis")) {
				t.Errorf("the device got % X", last)
			}
			other.alive()
		}
		want := map[byte]int64{4: 1, 5: 2}[at.version]
		if n := w.broker.Stats().Panics; n != want {
			t.Errorf("%d panics counted, want %d", n, want)
		}
		if text := log.String(); !strings.Contains(text, "caused a panic") || strings.Contains(text, "Geheimnis") {
			t.Errorf("the log: %s", text)
		}
	})
}

// A device that gets nothing is examined while it tries, so debug has each login, each
// refusal with its reason, and each end.
func TestAtLevelDebugEveryLoginRefusalAndEndIsALine(t *testing.T) {
	log := &lockedBuffer{}
	w := newWorld(t, Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	at := endpoint{"tcp", 5}
	refused := w.dial(at)
	refused.send(connect{id: "a", token: "no token", clean: true}.packet(5))
	refused.expectConnack(codeBadToken)
	w.login(at, "phone", "7").raw([]byte{0xE0, 0})
	noMQTT := w.dial(at)
	noMQTT.raw([]byte("GET / HTTP/1.1\r\n\r\n"))
	for _, line := range []string{
		`msg="a login was refused" component=broker remote=`, `protocol=5 code=0x86 error=`,
		`msg="a device logged in" component=broker remote=`, `protocol=5 code=0x00 user=7 client_id=phone`,
		`msg="a device's connection ended" component=broker remote=`,
		`msg="a connection ended before its login" component=broker remote=`,
	} {
		testserver.Eventually(t, 10*time.Second, func() error {
			if !strings.Contains(log.String(), line) {
				return fmt.Errorf("no %s in\n%s", line, log.String())
			}
			return nil
		})
	}
	if strings.Contains(log.String(), "no token") {
		t.Errorf("the log has the token: %s", log.String())
	}
}

// lockedBuffer is a buffer that many goroutines may use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
