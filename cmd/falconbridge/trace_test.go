package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// traced has the parts of a PUBLISH that belong to a trace.
type traced struct{ seq, traceparent string }

// traces subscribes a device with MQTT 5 and returns what it receives and acknowledges.
// The user "+" is an operator, who receives everyone's.
func traces(t *testing.T, p *testserver.Program, user, id string) <-chan traced {
	t.Helper()
	nc, err := net.Dial("tcp", p.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan traced, 16)
	c := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(m paho.PublishReceived) (bool, error) {
			got <- traced{m.Packet.Properties.User.Get("seq"), m.Packet.Properties.User.Get("traceparent")}
			return true, nil
		},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	token := sign(t, "root", bridge.ScopeRead)
	if user != "+" {
		token = sign(t, user, 0)
	}
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 60,
		UsernameFlag: true, Username: "x", PasswordFlag: true, Password: []byte(token)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: "users/" + user + "/reports/status", QoS: 1, RetainHandling: 2}}}); err != nil {
		t.Fatal(err)
	}
	return got
}

// postTraced posts one notification with a traceparent.
func postTraced(t *testing.T, base, user, traceparent string) {
	t.Helper()
	body := strings.NewReader(`{"created_by":"` + user + `","title":"a secret title","message":"a secret message"}`)
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/notifications", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+sign(t, "app", bridge.ScopeWrite))
	req.Header.Set("Content-Type", "application/json")
	if traceparent != "" {
		req.Header.Set("Traceparent", traceparent)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST: %s", resp.Status)
	}
}

func receive(t *testing.T, from <-chan traced) traced {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(waitLimit):
		t.Fatal("nothing is received")
		return traced{}
	}
}

// The node that gets the POST and the one that delivers may differ.
func TestATraceparentGoesFromOneNodeToTheDevicesOfAnother(t *testing.T) {
	t.Parallel()
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, extra := range map[string]func(t *testing.T) []string{
		"over Postgres": func(*testing.T) []string { return nil },
		"over Redis":    func(t *testing.T) []string { return []string{"--bus=" + testserver.NewRedis(t).URL} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := with("DATABASE_URL", testserver.Postgres(t))
			args := extra(t)
			a, b := testserver.NewProgram(t, env, args...), testserver.NewProgram(t, env, args...)
			here, there, operator := traces(t, a, "1", "here"), traces(t, b, "1", "there"), traces(t, a, "+", "operator")
			for i, want := range []string{trace, "", trace} {
				postTraced(t, a.HTTP, "1", want)
				seq := string('1' + rune(i))
				for at, device := range map[string]<-chan traced{"here": here, "there": there, "operator": operator} {
					if got := receive(t, device); got != (traced{seq, want}) {
						t.Errorf("%s received %+v, want the seq %s and %q", at, got, seq, want)
					}
				}
			}
		})
	}
}
