package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
)

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDbaBbz0EwMbY="
)

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestEverySecretSignsAWebhook(t *testing.T) {
	type request struct {
		header http.Header
		body   []byte
	}
	got := make(chan request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- request{r.Header, b}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	secrets, err := ParseSecrets([]byte(newSecret + "\n\n" + oldSecret + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	n := &bridge.Notification{ID: 27, Seq: 3, User: "7", Kind: bridge.KindMessage, Title: "t", Message: "m", CreatedAt: time.Now()}
	o := NewSender(mustURL(t, s.URL), secrets).Send(t.Context(), "msg_1", late.Rule{When: late.Unread, After: time.Hour}, n)
	if o.Result != late.Sent {
		t.Fatalf("%+v", o)
	}
	r := <-got
	for _, secret := range []string{oldSecret, newSecret} {
		receiver, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := receiver.Verify(r.body, r.header); err != nil {
			t.Errorf("verified with one of the secrets: %v", err)
		}
		if err := receiver.Verify(append(r.body, ' '), r.header); err == nil {
			t.Error("a changed body is accepted")
		}
	}
	if r.header.Get("webhook-id") != "msg_1" {
		t.Errorf("id %q", r.header.Get("webhook-id"))
	}
	var b struct {
		Type, Timestamp string
		Data            map[string]any
	}
	if err := json.Unmarshal(r.body, &b); err != nil || b.Type != "notification.unread" || b.Data["id"] != 27.0 || b.Data["title"] != "t" {
		t.Errorf("body %s, %v", r.body, err)
	}
	if _, err := time.Parse(time.RFC3339, b.Timestamp); err != nil {
		t.Error(err)
	}
}

func TestResponsesOfAReceiverBecomeOutcomes(t *testing.T) {
	secrets, err := ParseSecrets([]byte(oldSecret))
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{301, 307, 400, 401, 410, 429, 500, 503} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", status) }))
		o := NewSender(mustURL(t, s.URL), secrets).Send(t.Context(), "msg_1", late.Rule{When: late.Unread}, &bridge.Notification{User: "7"})
		if s.Close(); o.Result != late.Failed || o.Status != status {
			t.Errorf("%d: %+v", status, o)
		}
	}
	o := NewSender(mustURL(t, "http://user:password@127.0.0.1:1/"), secrets).Send(t.Context(), "msg_1", late.Rule{}, &bridge.Notification{User: "7"})
	if o.Result != late.Failed || strings.Contains(o.Err.Error(), "password") {
		t.Errorf("%+v", o)
	}
}

func TestMalformedSecretsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"none":            "\n",
		"no prefix":       strings.TrimPrefix(oldSecret, "whsec_"),
		"not base64":      "whsec_????",
		"short":           "whsec_c2hvcnQ=",
		"the second one":  oldSecret + "\nsecret",
		"two in one line": oldSecret + " " + newSecret,
	} {
		if _, err := ParseSecrets([]byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
