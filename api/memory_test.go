package api

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// post opens a connection and sends the headers of a POST that announces length bytes,
// and part of its body.
func post(t *testing.T, addr, path, token string, length int, part string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, token, length, part); err != nil {
		t.Fatal(err)
	}
	return nc
}

// Two hundred requests announce 4 MiB each and send a few bytes.
func TestAnnouncedBodiesThatNeverArriveCostNoMemory(t *testing.T) {
	arrived := make(chan struct{}, 200)
	e := newHarness(t, sqlite(t))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &signalling{ReadCloser: r.Body, after: 1, read: arrived}
		e.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.CloseClientConnections)
	tok := tokenFor(t, "s", "notifications:write")
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range cap(arrived) {
		post(t, srv.Listener.Addr().String(), "/notifications/batch", tok, MaxBatchBody, `{"notifications":[`)
	}
	for range cap(arrived) {
		select {
		case <-arrived:
		case <-time.After(20 * time.Second):
			t.Fatal("a body is not read")
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("they cost %d MiB", grown>>20)
	}
}

// signalling sends to read when it is read again after that many bytes.
type signalling struct {
	io.ReadCloser
	after int
	read  chan<- struct{}
}

func (b *signalling) Read(p []byte) (int, error) {
	if b.after <= 0 && b.read != nil {
		b.read <- struct{}{}
		b.read = nil
	}
	n, err := b.ReadCloser.Read(p)
	b.after -= n
	return n, err
}

func TestBodiesInFlightAreBoundedAndSmallOnesStillPass(t *testing.T) {
	e := newHarness(t, sqlite(t), func(o *Options) { o.MaxBodies = 70 << 10 })
	reading := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &signalling{ReadCloser: r.Body, after: 33 << 10, read: reading}
		e.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.CloseClientConnections)
	addr, tok := srv.Listener.Addr().String(), tokenFor(t, "s", "notifications:write")
	large := `{"title":"t","message":"m","created_by":1,"other":"` + strings.Repeat("x", 33<<10) + `"}`
	pending := post(t, addr, "/notifications", tok, len(large), large[:len(large)-1])
	select {
	case <-reading:
	case <-time.After(10 * time.Second):
		t.Fatal("the body is not read")
	}
	a := e.call("POST /notifications", tok, large)
	if a.problem(http.StatusServiceUnavailable); a.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	e.call("POST /notifications", tok, `{"title":"t","message":"m","created_by":1}`).want(http.StatusCreated)
	if _, err := pending.Write([]byte("}")); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, len("HTTP/1.1 201"))
	if _, err := io.ReadFull(pending, head); err != nil || string(head) != "HTTP/1.1 201" {
		t.Fatalf("the pending request got %q, %v", head, err)
	}
	testserver.Eventually(t, 10*time.Second, func() error {
		if a := e.call("POST /notifications", tok, large); a.Code != http.StatusCreated {
			return fmt.Errorf("status %d after its room was given back", a.Code)
		}
		return nil
	})
}
