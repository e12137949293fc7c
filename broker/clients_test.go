package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

// Third-party clients.

func TestMosquittoSub(t *testing.T) {
	for _, version := range []string{"311", "5"} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.notify("7", "retained")
			host, port, _ := strings.Cut(w.tcp, ":")
			ctx, cancel := context.WithTimeout(t.Context(), 2*testTimeout)
			defer cancel()
			cmd := exec.CommandContext(ctx, "mosquitto_sub", "-h", host, "-p", port, "-V", version, "-u", "", "-P", "7",
				"-i", "mosquitto", "-c", "-x", "60", "-q", "1", "-t", topic7, "-C", "3", "-F", "%r %q %p")
			if version == "311" {
				cmd.Args = append(cmd.Args[:len(cmd.Args):len(cmd.Args)], "-k", "10")
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for i, title := range []string{"retained", "first", "second"} {
				if !lines.Scan() {
					t.Fatalf("mosquitto_sub ended before %s: %v", title, cmd.Wait())
				}
				want := fmt.Sprintf("%d 1 ", map[bool]int{true: 1}[i == 0])
				if got := lines.Text(); !strings.HasPrefix(got, want) || !strings.Contains(got, title) {
					t.Errorf("got %s, want %s… with %s", got, want, title)
				}
				if i == 0 {
					w.notify("7", "first", "second")
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("mosquitto_sub: %v", err)
			}
		})
	}
}

func TestMosquittoSubIsRefused(t *testing.T) {
	w := newWorld(t, Options{})
	host, port, _ := strings.Cut(w.tcp, ":")
	for _, version := range []string{"311", "5"} {
		out, err := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", host, "-p", port, "-V", version, "-u", "x", "-P", "bad",
			"-t", topic7, "-W", "5").CombinedOutput()
		if err == nil || !strings.Contains(strings.ToLower(string(out)), "bad user name or password") {
			t.Errorf("MQTT %s: %v: %s", version, err, out)
		}
	}
}

func TestPaho(t *testing.T) {
	for _, transport := range []string{"tcp", "ws"} {
		t.Run(transport, func(t *testing.T) {
			w := newWorld(t, Options{})
			at := &url.URL{Scheme: "mqtt", Host: w.tcp}
			if transport == "ws" {
				at = &url.URL{Scheme: "ws", Host: w.ws, Path: "/mqtt"}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*testTimeout)
			defer cancel()
			got := make(chan *paho.Publish, 1000)
			failed := make(chan error, 10)
			cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
				ServerUrls:            []*url.URL{at},
				KeepAlive:             30,
				SessionExpiryInterval: 60,
				ConnectPassword:       []byte("7"),
				OnConnectError:        func(err error) { failed <- err },
				OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
					if _, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic7, QoS: 1}},
						Properties: &paho.SubscribeProperties{User: paho.UserProperties{{Key: "since", Value: "0"}}}}); err != nil {
						failed <- err
					}
				},
				ClientConfig: paho.ClientConfig{
					ClientID: "paho",
					OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
						got <- r.Packet
						return true, nil
					}},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 100 { // past the window of 32
				w.notify("7", fmt.Sprint("title ", i))
			}
			for seq := 1; seq <= 100; seq++ {
				select {
				case p := <-got:
					var item struct{ Seq int }
					if err := json.Unmarshal(p.Payload, &item); err != nil || item.Seq != seq || p.QoS != 1 || p.Properties.ContentType != "application/json" {
						t.Fatalf("message %d: %v %+v", seq, err, p)
					}
				case err := <-failed:
					t.Fatal(err)
				case <-ctx.Done():
					t.Fatalf("message %d did not come", seq)
				}
			}
			if err := cm.Disconnect(ctx); err != nil {
				t.Errorf("disconnect: %v", err)
			}
		})
	}
}
