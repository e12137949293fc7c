package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/token"
)

// memLog stores nothing, so that a benchmark measures the API alone.
type memLog struct {
	seq atomic.Int64
}

func (l *memLog) Append(_ context.Context, c bridge.Command) (bridge.Result, error) {
	var r bridge.Result
	for _, d := range c.Drafts {
		n := l.seq.Add(1)
		r.Appended = append(r.Appended, bridge.Notification{ID: n, Seq: bridge.Seq(n), User: d.User, Kind: d.Kind, Title: d.Title, Message: d.Message})
	}
	return r, nil
}

// silentBus is a bus of one node.
type silentBus struct{}

func (silentBus) Publish(...bridge.Hint) {}
func (silentBus) Run(ctx context.Context, h bridge.HintHandler) error {
	h.Reconnected()
	<-ctx.Done()
	return nil
}
func (silentBus) Ready() error { return nil }

var testSecret = []byte("a secret of thirty-two bytes or more")

func testVerifier(t testing.TB) *token.Verifier {
	t.Helper()
	v, err := token.NewVerifier(t.Context(), token.Options{Secrets: [][]byte{testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tokenFor signs a token that lasts an hour.
func tokenFor(t testing.TB, u bridge.UserID, scopes ...string) string {
	t.Helper()
	s, err := token.NewSigner(token.SignerOptions{Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	c := bridge.Claims{User: u, ExpiresAt: time.Now().Add(time.Hour)}
	for _, name := range scopes {
		c.Scope |= bridge.ParseScope(name)
	}
	raw, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func benchAPI(b *testing.B) http.Handler {
	b.Helper()
	log := &memLog{}
	hub := delivery.NewHub(delivery.Options{})
	h, err := New(Options{
		Service:            bridge.NewService(bridge.ServiceOptions{Log: log, Hub: hub, Bus: silentBus{}}),
		Verifier:           testVerifier(b),
		RequestRatePerUser: 50, RequestRatePerAddress: 2000,
	})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// draft300 is the notification of the performance page: 300 bytes.
var draft300 = []byte(`{"title":"El estado de su reporte ha cambiado a: Aprobado","message":"` + strings.Repeat("á", 80) + strings.Repeat("x", 40) + `","created_by":123}`)

// discard is a response writer that discards everything.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkPost measures POST /notifications without the network.
func BenchmarkPost(b *testing.B) {
	h := benchAPI(b)
	r := httptest.NewRequest(http.MethodPost, "/notifications", nil)
	r.Header.Set("Authorization", "Bearer "+tokenFor(b, "service", "notifications:write"))
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(draft300))
	body := bytes.NewReader(draft300)
	r.Body = io.NopCloser(body)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(draft300)
		w := &discard{make(http.Header, 8)}
		h.ServeHTTP(w, r)
		if w.header.Get("Content-Type") != "application/json" {
			b.Fatal("not created")
		}
	}
}

// BenchmarkDecode measures the part of BenchmarkPost that decodes the body.
func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var n newNotification
		if err := decode(draft300, &n, false); err != nil {
			b.Fatal(err)
		}
	}
}
