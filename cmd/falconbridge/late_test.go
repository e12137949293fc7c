package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// registration is the body of PUT /devices/{client_id} for an endpoint.
func registration(t *testing.T, endpoint string) any {
	t.Helper()
	device, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]any{"push": map[string]any{"endpoint": endpoint,
		"keys": map[string]string{"p256dh": encode(device.PublicKey().Bytes()), "auth": encode(make([]byte, 16))}}}
}

func TestLateNotificationsAreCounted(t *testing.T) {
	for name, env := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service, settings := testserver.NewPushService(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/gone" {
					w.WriteHeader(http.StatusGone)
				} else {
					w.WriteHeader(http.StatusCreated)
				}
			})
			var once sync.Once
			hooks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				once.Do(func() { w.WriteHeader(http.StatusServiceUnavailable) })
			}))
			t.Cleanup(hooks.Close)
			all := env(t)
			maps.Copy(all, settings)
			maps.Copy(all, map[string]string{"FALCON_PUSH_AFTER": "1s", "FALCON_WEBHOOK_URL": hooks.URL,
				"FALCON_WEBHOOK_SECRET_FILE": file(t, webhookSecret), "FALCON_WEBHOOK_WHEN": "unread 1s"})
			p := testserver.NewProgram(t, all)
			shows := func(lines ...string) {
				t.Helper()
				testserver.Eventually(t, waitLimit, func() error {
					text, err := fetch(p.Admin + "/metrics")
					for _, want := range lines {
						if !strings.Contains(text, "\n"+want+"\n") {
							return fmt.Errorf("no %s, %w", want, err)
						}
					}
					return err
				})
			}
			shows("falconbridge_late_active 1")
			for _, channel := range []string{"push", "webhook"} {
				of := fmt.Sprintf("channel=%q", channel)
				shows("falconbridge_late_sent_total{"+of+"} 0", "falconbridge_late_given_up_total{"+of+"} 0",
					"falconbridge_late_waiting{"+of+"} 0", "falconbridge_late_oldest_seconds{"+of+"} 0")
				for _, reason := range []string{"blocked", "gone", "limited", "refused", "unavailable", "unreachable"} {
					shows(fmt.Sprintf("falconbridge_late_failed_total{%s,reason=%q} 0", of, reason))
				}
			}
			for user, path := range map[string]string{"1": "/phone", "2": "/gone"} {
				caller{base: p.HTTP, token: sign(t, user, 0)}.do(t, "PUT", "/devices/phone", registration(t, service+path), 204, nil)
				notify(t, p.HTTP, user, "late")
			}
			shows(`falconbridge_late_sent_total{channel="push"} 1`, `falconbridge_late_failed_total{channel="push",reason="gone"} 1`,
				`falconbridge_late_given_up_total{channel="push"} 1`, `falconbridge_late_sent_total{channel="webhook"} 2`,
				`falconbridge_late_failed_total{channel="webhook",reason="unavailable"} 1`,
				`falconbridge_late_waiting{channel="webhook"} 0`, `falconbridge_late_oldest_seconds{channel="webhook"} 0`)
			testserver.Eventually(t, waitLimit, func() error { // as of the follower's last position
				var s struct {
					Push, Webhooks struct{ Waiting, Sent, Failed int }
				}
				caller{base: p.HTTP, token: sign(t, "9", bridge.ScopeAdmin)}.do(t, "GET", "/admin/stats", nil, 200, &s)
				if fmt.Sprint(s) != "{{0 1 1} {0 2 0}}" {
					return fmt.Errorf("/admin/stats %+v", s)
				}
				return nil
			})
		})
	}
}

// A secret that is added to the file signs without a restart.
func TestAChangedWebhookSecretSignsAtOnce(t *testing.T) {
	t.Parallel()
	const other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDbaBbz0EwMbY="
	verifies := make(map[string]*standardwebhooks.Webhook)
	for _, secret := range []string{webhookSecret, other} {
		hook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		verifies[secret] = hook
	}
	type request struct {
		header http.Header
		body   []byte
	}
	got := make(chan request, 10)
	hooks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- request{r.Header, b}
	}))
	t.Cleanup(hooks.Close)
	name := file(t, webhookSecret)
	p := testserver.NewProgram(t, with("FALCON_WEBHOOK_URL", hooks.URL, "FALCON_WEBHOOK_SECRET_FILE", name, "FALCON_WEBHOOK_WHEN", "unread 1s"))
	signed := func(by string) bool {
		t.Helper()
		notify(t, p.HTTP, "1", "late")
		var r request
		select {
		case r = <-got:
		case <-time.After(waitLimit):
			t.Fatal("no webhook came")
		}
		return verifies[by].Verify(r.body, r.header) == nil
	}
	if !signed(webhookSecret) {
		t.Fatal("the secret did not sign")
	}
	for _, broken := range []string{"", "whsec_short", other + "\nnonsense"} {
		if err := os.WriteFile(name, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if !signed(webhookSecret) {
			t.Fatalf("with %q in the file the former secret did not sign", broken)
		}
	}
	if err := os.WriteFile(name, []byte(other+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, waitLimit, func() error { // two readings
		if !signed(other) {
			return fmt.Errorf("the new secret does not sign")
		}
		return nil
	})
}

// Without configuration the follower does not run: no goroutine, and no statement, because
// it would fail without the tables.
func TestPushesAndWebhooksAreOffByDefault(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	p := testserver.NewProgram(t, with("DATABASE_URL", url))
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(url)))
	t.Cleanup(func() { _ = db.Close() })
	for _, table := range []string{"falcon_late", "falcon_leases", "falcon_acks"} {
		if _, err := db.Exec("ALTER TABLE " + table + " RENAME TO " + table + "_gone"); err != nil {
			t.Fatal(err)
		}
	}
	user, admin := caller{base: p.HTTP, token: sign(t, "1", 0)}, caller{base: p.HTTP, token: sign(t, "9", bridge.ScopeAdmin)}
	for _, persistent := range []string{"", "--persistent"} {
		args := []string{"tail", "--user=1", "--count=2", "--client-id=phone" + persistent}
		if persistent != "" {
			args = append(args, persistent)
		}
		device := begin(t, p.Command(args...))
		device.says(t, "subscribed")
		notify(t, p.HTTP, "1", "one")
		notify(t, p.HTTP, "1", "two")
		device.wait(t) // both are acknowledged
	}
	var text string
	caller{base: p.Admin}.do(t, "GET", "/debug/pprof/goroutine?debug=2", nil, 200, &text)
	for _, part := range []string{"bridge/late.", "bridge/push.", "bridge/webhook.", "storeAcks", "watchSecrets"} {
		if strings.Contains(text, part) {
			t.Errorf("a goroutine of %s runs", part)
		}
	}
	caller{base: p.Admin}.do(t, "GET", "/metrics", nil, 200, &text)
	if strings.Contains(text, "falconbridge_late") || !strings.Contains(text, `falconbridge_database_errors_total{kind="fault"} 0`) {
		t.Errorf("metrics:\n%s", text)
	}
	user.do(t, "GET", "/push/key", nil, 404, nil)
	user.do(t, "PUT", "/devices/phone", registration(t, "https://push.example.com/x"), 404, nil)
	user.do(t, "POST", "/devices/phone/test", nil, 404, nil)
	user.do(t, "GET", "/devices", nil, 200, nil)
	admin.do(t, "POST", "/admin/webhooks/msg_0123/redeliver", nil, 404, nil)
	admin.do(t, "GET", "/admin/stats", nil, 200, &text)
	if strings.Contains(text, `"push"`) || strings.Contains(text, `"webhooks"`) {
		t.Errorf("/admin/stats %s", text)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if log := p.Log(); strings.Contains(log, "does not exist") || strings.Contains(log, "component=late") {
		t.Errorf("the log:\n%s", log)
	}
}
