package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestExplainPrintsWhatHappenedToANotification(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	if _, errs, code := finish(t, p.Command("send", "--user=7", "--title=hush", "--message=hush")); code != 0 {
		t.Fatalf("send: %d, %s", code, errs)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		sees string
	}{
		"words":          {[]string{"explain", "1"}, 0, "live  user 7, #1, id 1, message, committed "},
		"JSON":           {[]string{"explain", "1", "--json"}, 0, `"state":"live","devices":[],"pushes":[],"webhooks":[]}`},
		"an unknown one": {[]string{"explain", "99"}, 1, "the server returned 404"},
	} {
		out, errs, code := finish(t, p.Command(tt.args...))
		if all := out + errs; code != tt.code || !strings.Contains(all, tt.sees) || strings.Contains(all, "hush") {
			t.Errorf("%s: %d, %q", name, code, all)
		}
	}
}

// explained has the fields of an explanation that the tests read.
type explained struct {
	State       string
	CommittedAt time.Time `json:"committed_at"`
	Devices     []explainedDevice
}

type explainedDevice struct {
	ClientID string `json:"client_id"`
	State    string
	At       *time.Time
	Why      string
}

// device waits until the explanation of a notification has the wanted entry for a device:
// its state, with the reason in parentheses.
func (c caller) device(t *testing.T, id int64, client, want string) explainedDevice {
	t.Helper()
	var found explainedDevice
	testserver.Eventually(t, waitLimit, func() error {
		var e explained
		c.do(t, "GET", fmt.Sprintf("/admin/notifications/%d/explain", id), nil, 200, &e)
		i := slices.IndexFunc(e.Devices, func(d explainedDevice) bool { return d.ClientID == client })
		if i < 0 {
			return fmt.Errorf("%s is not among %+v, want %s", client, e.Devices, want)
		}
		found = e.Devices[i]
		got := found.State
		if found.Why != "" {
			got += " (" + found.Why + ")"
		}
		if got != want {
			return fmt.Errorf("%s is %s, want %s", client, got, want)
		}
		if found.At != nil && (found.At.Before(e.CommittedAt.Add(-time.Minute)) || found.At.After(time.Now().Add(time.Minute))) {
			return fmt.Errorf("%s is %s by %v, committed %v", client, got, found.At, e.CommittedAt)
		}
		return nil
	})
	return found
}

// phone is a persistent device of user 7.
type phone struct {
	*paho.Client
	seqs chan string
}

// connectPhone connects a phone, which subscribes unless it has a session. It acknowledges what
// it receives, unless it is mute. sizes may give its Maximum Packet Size.
func connectPhone(t *testing.T, p *testserver.Program, id string, mute bool, life, size uint32) *phone {
	t.Helper()
	nc, err := net.Dial("tcp", p.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	f := &phone{seqs: make(chan string, 2000)}
	f.Client = paho.NewClient(paho.ClientConfig{Conn: nc, EnableManualAcknowledgment: true, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(m paho.PublishReceived) (bool, error) {
			if !mute {
				_ = m.Client.Ack(m.Packet)
			}
			f.seqs <- m.Packet.Properties.User.Get("seq")
			return true, nil
		},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	properties := &paho.ConnectProperties{SessionExpiryInterval: &life}
	if size > 0 {
		properties.MaximumPacketSize = &size
	}
	ack, err := f.Connect(ctx, &paho.Connect{ClientID: id, KeepAlive: 60, Properties: properties,
		UsernameFlag: true, Username: "x", PasswordFlag: true, Password: []byte(sign(t, "7", 0))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.leave)
	if !ack.SessionPresent {
		if _, err := f.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "users/7/reports/status", QoS: 1, RetainHandling: 2}}}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *phone) leave() { _ = f.Disconnect(&paho.Disconnect{}) }

// receives waits for a seq.
func (f *phone) receives(t *testing.T, seq int64) {
	t.Helper()
	for deadline := time.After(waitLimit); ; {
		select {
		case got := <-f.seqs:
			if got == fmt.Sprint(seq) {
				return
			}
		case <-deadline:
			t.Fatalf("seq %d is not received", seq)
		}
	}
}

// Every state and reason, for connected and absent devices. On Postgres the
// explanation comes from another node than the one to which the devices connect.
func TestExplainPrintsTheStateAtEachDevice(t *testing.T) {
	t.Parallel()
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := env(t)
			p := testserver.NewProgram(t, e)
			other := p
			if name == "postgres" {
				other = testserver.NewProgram(t, e)
			}
			root, user := caller{base: other.HTTP, token: adminToken(t)}, caller{base: p.HTTP, token: sign(t, "7", 0)}
			post := func(draft map[string]any) (n item) {
				t.Helper()
				draft["created_by"], draft["title"], draft["message"] = 7, "T", "M"
				root.do(t, "POST", "/notifications", draft, 201, &n)
				return n
			}
			absent := func(f *phone, last item) {
				t.Helper()
				f.receives(t, last.Seq)
				root.device(t, last.ID, "absent", "acknowledged")
				f.leave()
			}
			keeps := func() *phone { return connectPhone(t, p, "absent", false, 3600, 0) }

			reader := connectPhone(t, p, "reader", false, 3600, 0)
			connectPhone(t, p, "mute", true, 3600, 0)
			connectPhone(t, p, "small", false, 3600, 150)
			connectPhone(t, p, "brief", false, 1, 0).leave()
			keeps().leave()
			first := post(map[string]any{"replaces": "k"})
			reader.receives(t, first.Seq)
			if d := root.device(t, first.ID, "reader", "acknowledged"); d.At == nil {
				t.Error("nothing says when it was acknowledged")
			}
			if d := root.device(t, first.ID, "mute", "sent"); d.At == nil {
				t.Error("nothing says when it was sent")
			}
			root.device(t, first.ID, "absent", "behind")
			root.device(t, first.ID, "small", "skipped (too large)")
			root.device(t, first.ID, "brief", "expired session (behind)")
			connectPhone(t, p, "late", false, 3600, 0)
			root.device(t, first.ID, "late", "skipped (subscribed later)")

			second := post(map[string]any{"replaces": "k"})
			absent(keeps(), second)
			root.device(t, first.ID, "absent", "skipped (superseded)")
			root.device(t, first.ID, "reader", "acknowledged")

			brief, deleted, mutedLater := post(map[string]any{"expires_in": 1}), post(map[string]any{}), post(map[string]any{"kind": "news"})
			root.do(t, "DELETE", fmt.Sprintf("/notifications/%d", deleted.ID), nil, 204, nil)
			user.do(t, "PATCH", "/settings", map[string]any{"kinds": map[string]any{"news": 0, "ads": 0}}, 200, nil)
			muted := post(map[string]any{"kind": "ads"})
			testserver.Eventually(t, waitLimit, func() error {
				var e explained
				if root.do(t, "GET", fmt.Sprintf("/admin/notifications/%d/explain", brief.ID), nil, 200, &e); e.State != "expired" {
					return fmt.Errorf("it is %s, want expired", e.State)
				}
				return nil
			})
			absent(keeps(), post(map[string]any{}))
			user.do(t, "PATCH", "/settings", map[string]any{"kinds": map[string]any{"news": nil, "ads": nil}}, 200, nil)
			root.device(t, brief.ID, "absent", "skipped (expired)")
			root.device(t, deleted.ID, "absent", "skipped (deleted)")
			root.device(t, muted.ID, "absent", "skipped (muted)")
			root.device(t, mutedLater.ID, "absent", "skipped (muted)")
			root.device(t, mutedLater.ID, "reader", "acknowledged")

			capped := post(map[string]any{})
			drafts := make([]map[string]any, 1000)
			for i := range drafts {
				drafts[i] = map[string]any{"created_by": 7, "title": "T", "message": "M"}
			}
			root.do(t, "POST", "/notifications/batch", map[string]any{"notifications": drafts}, 201, nil)
			last := post(map[string]any{})
			absent(keeps(), last)
			root.device(t, capped.ID, "absent", "skipped (replay cap)")

			root.do(t, "DELETE", "/admin/users/7", nil, 204, nil)
			root.do(t, "GET", fmt.Sprintf("/admin/notifications/%d/explain", first.ID), nil, 404, nil)
		})
	}
}
