package api

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// fakePusher calls no push service.
type fakePusher struct{ outcome late.Outcome }

func (fakePusher) PublicKey() string { return "the key" }

func (fakePusher) CheckEndpoint(endpoint string) error {
	if strings.Contains(endpoint, "127.0.0.1") {
		return errors.New("must be a globally routable address")
	}
	return nil
}

func (p fakePusher) Test(context.Context, bridge.Registration) late.Outcome { return p.outcome }

func subscriptionTo(t *testing.T, endpoint string) string {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"push":{"endpoint":%q,"keys":{"p256dh":%q,"auth":%q}}}`, endpoint, encode(key.PublicKey().Bytes()), encode(make([]byte, 16)))
}

func TestADeviceIsRegisteredForWebPush(t *testing.T) {
	for name, url := range map[string]func() string{"SQLite": func() string { return sqlite(t) }, "Postgres": func() string { return testserver.Postgres(t) }} {
		t.Run(name, func(t *testing.T) {
			p := &fakePusher{late.Outcome{Result: late.Sent}}
			e := newHarness(t, url(), func(o *Options) { o.Pusher = p })
			mine, other := tokenFor(t, "1"), tokenFor(t, "2")
			e.call("GET /push/key", "", "").want(http.StatusOK).equal(`{"vapid_public_key":"the key"}`)
			e.call("GET /devices", mine, "").want(http.StatusOK).equal(`[]`)
			body := subscriptionTo(t, "https://push.example/secret")
			e.call("PUT /devices/a%2Fphone", mine, body).want(http.StatusNoContent)
			a := e.call("GET /devices", mine, "").want(http.StatusOK)
			if !strings.Contains(a.Body.String(), `{"client_id":"a/phone","push":true,"session":false,"connected":false,"last_seen_at":"2`) || strings.Contains(a.Body.String(), "secret") {
				t.Errorf("devices %s", a.Body)
			}
			e.call("POST /devices/a%2Fphone/test", mine, "").want(http.StatusNoContent)
			e.call("POST /devices/a%2Fphone/test", other, "").problem(http.StatusNotFound)
			e.call("DELETE /devices/a%2Fphone", other, "").problem(http.StatusNotFound)

			// Another user signs in to the same browser.
			e.call("PUT /devices/b", other, body).want(http.StatusNoContent)
			e.call("GET /devices", mine, "").want(http.StatusOK).equal(`[]`)
			p.outcome = late.Outcome{Result: late.Limited, After: 90 * time.Second}
			a = e.call("POST /devices/b/test", other, "")
			if a.problem(http.StatusTooManyRequests); a.Header().Get("Retry-After") != "90" {
				t.Errorf("Retry-After %q", a.Header().Get("Retry-After"))
			}
			p.outcome = late.Outcome{Result: late.Rejected, Status: 403, Err: errors.New("403")}
			a = e.call("POST /devices/b/test", other, "")
			if a.problem(http.StatusServiceUnavailable); strings.Contains(a.Body.String(), "403") {
				t.Errorf("the response shows what the address returned: %s", a.Body)
			}
			p.outcome = late.Outcome{Result: late.Gone}
			e.call("POST /devices/b/test", other, "").problem(http.StatusNotFound)
			e.call("GET /devices", other, "").want(http.StatusOK).equal(`[]`)
			e.call("PUT /devices/b", other, body).want(http.StatusNoContent)
			e.call("DELETE /devices/b", other, "").want(http.StatusNoContent)
			e.call("DELETE /devices/b", other, "").problem(http.StatusNotFound)

			for i := range bridge.MaxRegistrations {
				e.call(fmt.Sprint("PUT /devices/", i), mine, subscriptionTo(t, fmt.Sprint("https://push.example/", i))).want(http.StatusNoContent)
			}
			e.call("PUT /devices/more", mine, subscriptionTo(t, "https://push.example/more")).problem(http.StatusConflict)
		})
	}
}

func TestInvalidRegistrationsAreRefused(t *testing.T) {
	e := newHarness(t, sqlite(t), func(o *Options) { o.Pusher = &fakePusher{} })
	mine := tokenFor(t, "1")
	good := subscriptionTo(t, "https://push.example/x")
	for name, tt := range map[string]struct{ at, body, field string }{
		"a dot":               {"PUT /devices/%2E", good, "path.client_id"},
		"two dots":            {"PUT /devices/%2E%2E", good, "path.client_id"},
		"NUL":                 {"PUT /devices/%00", good, "path.client_id"},
		"a long client id":    {"PUT /devices/" + strings.Repeat("x", 257), good, "path.client_id"},
		"an internal address": {"PUT /devices/x", subscriptionTo(t, "https://127.0.0.1/x"), "body.push.endpoint"},
		"no push":             {"PUT /devices/x", `{}`, "body.push"},
		"no keys":             {"PUT /devices/x", `{"push":{"endpoint":"https://push.example/x","keys":{"p256dh":"","auth":""}}}`, "body.push.keys.p256dh"},
		"no point":            {"PUT /devices/x", `{"push":{"endpoint":"https://push.example/x","keys":{"p256dh":"` + strings.Repeat("A", 87) + `","auth":"AAAAAAAAAAAAAAAAAAAAAA"}}}`, "body.push.keys.p256dh"},
	} {
		t.Run(name, func(t *testing.T) {
			p := e.call(tt.at, mine, tt.body).problem(http.StatusUnprocessableEntity)
			if len(p.Errors) == 0 || p.Errors[0].Location != tt.field {
				t.Errorf("faults %+v, want %s", p.Errors, tt.field)
			}
		})
	}
}

func TestWithoutWebPushThereIsNoKey(t *testing.T) {
	e := newHarness(t, sqlite(t))
	e.call("GET /push/key", "", "").problem(http.StatusNotFound)
	e.call("PUT /devices/x", tokenFor(t, "1"), subscriptionTo(t, "https://push.example/x")).problem(http.StatusNotFound)
	e.call("POST /admin/webhooks/msg_x/redeliver", tokenFor(t, "1", "admin"), "").problem(http.StatusNotFound)
	if a := e.call("GET /admin/stats", tokenFor(t, "1", "admin"), "").want(http.StatusOK); strings.Contains(a.Body.String(), `"push"`) {
		t.Errorf("stats %s", a.Body)
	}
}
