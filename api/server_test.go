package api

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// server serves the API on a port, with the limits of the real server.
type server struct{ addr string }

func serve(t *testing.T, h http.Handler, timeouts Timeouts) server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Server(h, timeouts, nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return server{l.Addr().String()}
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (s server) do(t *testing.T, at, raw, body string, headers ...string) reply {
	t.Helper()
	method, path, _ := strings.Cut(at, " ")
	var b io.Reader
	if body != "" {
		b = io.MultiReader(strings.NewReader(body)) // of unknown length: sent in chunks
	}
	r, err := http.NewRequest(method, "http://"+s.addr+path, b)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+raw)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(got)}
}

// raw sends bytes unchanged and returns the response, or the error of a
// connection that was closed.
func (s server) raw(t *testing.T, sent string) (*http.Response, error) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, sent); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, err
}

func TestBodiesOnTheWire(t *testing.T) {
	e := newHarness(t, sqlite(t))
	s := serve(t, e.handler, Timeouts{})
	service := tokenFor(t, "s", "notifications:write")
	const body = `{"title":"t","message":"m","created_by":1}`
	for name, tt := range map[string]struct {
		body    string
		headers []string
		status  int
	}{
		"chunks":                  {body, []string{"Content-Type", "application/json"}, 201},
		"a charset":               {body, []string{"Content-Type", "application/json; charset=UTF-8"}, 201},
		"no type":                 {body, nil, 201},
		"identity":                {body, []string{"Content-Encoding", "identity"}, 201},
		"another charset":         {body, []string{"Content-Type", "application/json; charset=latin1"}, 415},
		"a form":                  {body, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"text":                    {body, []string{"Content-Type", "text/plain"}, 415},
		"a broken type":           {body, []string{"Content-Type", "application/json; =x"}, 415},
		"no type at all":          {body, []string{"Content-Type", "/"}, 415},
		"gzip":                    {body, []string{"Content-Encoding", "gzip"}, 415},
		"chunks beyond the limit": {`{"title":"` + strings.Repeat("x", MaxBody) + `"}`, nil, 413},
		"endless empty chunks":    {strings.Repeat(" ", MaxBody+1), nil, 413},
	} {
		if got := s.do(t, "POST /notifications", service, tt.body, tt.headers...); got.status != tt.status {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":4,"unread":4,"last_seq":4}`)
}

func TestSlowAndPartialRequestsEnd(t *testing.T) {
	e := newHarness(t, sqlite(t))
	s := serve(t, e.handler, Timeouts{Header: 300 * time.Millisecond, Body: 300 * time.Millisecond})
	head := "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenFor(t, "s", "notifications:write") + "\r\n"
	if _, err := s.raw(t, "POST /notifications HTTP/1.1\r\nHost: x\r\n"); err == nil {
		t.Error("headers without an end got a response")
	}
	res, err := s.raw(t, head+"Content-Length: 100\r\n\r\n{")
	if err != nil || res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("a body without an end: %+v, %v", res, err)
	}
	if res, err = s.raw(t, head+"X: "+strings.Repeat("x", 40<<10)+"\r\n\r\n"); err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("headers of 40 KiB: %+v, %v", res, err)
	}
	if res, err = s.raw(t, head+"Transfer-Encoding: chunked\r\n\r\nzz\r\n"); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("a broken chunk: %+v, %v", res, err)
	}
	if res, err = s.raw(t, head+"Content-Length: 10\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\n\r\n"); err != nil || res.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("100-continue for the wrong type: %+v, %v", res, err)
	}
	e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":0,"unread":0,"last_seq":0}`)
}

// A client that sends a byte now and then is disconnected: the timeouts are for all of
// the headers and for all of the body.
func TestSlowlorisIsDisconnected(t *testing.T) {
	e := newHarness(t, sqlite(t))
	s := serve(t, e.handler, Timeouts{Header: 300 * time.Millisecond, Body: 300 * time.Millisecond})
	head := "POST /notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenFor(t, "s", "notifications:write") + "\r\n"
	for name, tt := range map[string]struct{ sent, drip string }{
		"the headers":    {head, "X-Slow: x\r\n"},
		"one header":     {head + "X-Slow: ", "x"},
		"the body":       {head + "Content-Length: 1000\r\n\r\n", " "},
		"chunks":         {head + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
		"the first line": {"GET /", "x"},
	} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, c)
			ended <- err
		}()
		if _, err := io.WriteString(c, tt.sent); err != nil {
			t.Fatal(err)
		}
		tick, limit := time.NewTicker(20*time.Millisecond), time.After(10*time.Second)
		for over := false; !over; {
			select {
			case <-ended:
				over = true
			case <-limit:
				t.Fatalf("%s: the connection is kept", name)
			case <-tick.C:
				_, _ = io.WriteString(c, tt.drip) // the end is what counts
			}
		}
		tick.Stop()
	}
	e.call("GET /notifications/count", tokenFor(t, "1"), "").equal(`{"total":0,"unread":0,"last_seq":0}`)
}
