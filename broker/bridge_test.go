package broker

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// mosquitto first connects with the bridge bit set in the protocol level. It tries again
// without the bit only if it understands the refusal.
func TestMosquittoAsABridge(t *testing.T) {
	conf, err := os.ReadFile("../examples/mosquitto/bridge.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"mqttv311", "mqttv50"} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.notify("7", "over the bridge")
			text := strings.NewReplacer("listener 1884 127.0.0.1\n", "", "127.0.0.1:1883", w.tcp, "users/1/", "users/7/", "TOKEN", "7",
				"mqttv311", version, "persistence true\n", "", "persistence_location ./\n", "").Replace(string(conf))
			s := testserver.NewMosquitto(t, text)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			host, port, _ := strings.Cut(s.Addr, ":")
			got, err := exec.CommandContext(ctx, testserver.MosquittoSub(t), "-h", host, "-p", port, "-t", topic7, "-C", "1").CombinedOutput()
			if err != nil || !strings.Contains(string(got), "over the bridge") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
