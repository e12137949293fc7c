package broker

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/edge"
)

// handshake sends an upgrade request with headers changed; "" removes one.
func (w *world) handshake(t *testing.T, change map[string]string) (status int, h http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.ws+"/mqtt", nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mqttv3.1, mqtt"} {
		r.Header.Set(k, v)
	}
	for k, v := range change {
		switch {
		case k == ":method":
			r.Method = v
		case v == "":
			r.Header.Del(k)
		default:
			r.Header.Set(k, v)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode, res.Header
}

func TestUpgrade(t *testing.T) {
	origins, err := edge.ParseOrigins([]string{"https://app.example", "capacitor://localhost"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Options{Origins: origins})
	for name, tt := range map[string]struct {
		change map[string]string
		status int
	}{
		"a valid request":                     {nil, 101},
		"from an allowed origin":              {map[string]string{"Origin": "https://app.example"}, 101},
		"from an app in a web view":           {map[string]string{"Origin": "capacitor://localhost"}, 101},
		"from the same origin":                {map[string]string{"Origin": "http://" + w.ws}, 101},
		"from another origin":                 {map[string]string{"Origin": "https://evil.example"}, 403},
		"from the origin null":                {map[string]string{"Origin": "null"}, 403},
		"without a subprotocol":               {map[string]string{"Sec-WebSocket-Protocol": ""}, 400},
		"with another subprotocol":            {map[string]string{"Sec-WebSocket-Protocol": "mqttv3.1"}, 400},
		"with an old version":                 {map[string]string{"Sec-WebSocket-Version": "8"}, 426},
		"without a key":                       {map[string]string{"Sec-WebSocket-Key": ""}, 400},
		"with a short key":                    {map[string]string{"Sec-WebSocket-Key": "dGhl"}, 400},
		"without Upgrade":                     {map[string]string{"Upgrade": ""}, 426},
		"without Connection":                  {map[string]string{"Connection": "keep-alive"}, 426},
		"with POST":                           {map[string]string{":method": "POST"}, 405},
		"with compression, which is declined": {map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"}, 101},
	} {
		status, h := w.handshake(t, tt.change)
		if status != tt.status {
			t.Errorf("%s: %d, want %d", name, status, tt.status)
		}
		switch {
		case status == 101:
			if h.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || h.Get("Sec-WebSocket-Protocol") != "mqtt" || h.Get("Sec-WebSocket-Extensions") != "" {
				t.Errorf("%s: %v", name, h)
			}
		case h.Get("Content-Type") != "application/problem+json":
			t.Errorf("%s: %v", name, h)
		}
	}
}

func TestFramesThatEndTheConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		send   []byte
		status int
	}{
		"text":                               {clientFrame(0x81, []byte{0xC0, 0}), wsUnsupported},
		"unmasked":                           {[]byte{0x82, 2, 0xC0, 0}, wsProtocol},
		"a reserved bit, as for compression": {clientFrame(0xC2, []byte{0xC0, 0}), wsProtocol},
		"an unknown opcode":                  {clientFrame(0x83, nil), wsProtocol},
		"an unknown control opcode":          {clientFrame(0x8B, nil), wsProtocol},
		"a continuation of nothing":          {clientFrame(0x80, []byte{0xC0, 0}), wsProtocol},
		"a message inside a message":         {append(clientFrame(0x02, []byte{0xC0}), clientFrame(0x82, []byte{0})...), wsProtocol},
		"a fragmented ping":                  {clientFrame(0x09, nil), wsProtocol},
		"a long ping":                        {clientFrame(0x89, make([]byte, 126)), wsProtocol},
		"a length not in its shortest form":  {[]byte{0x82, 0xFE, 0, 2, 0, 0, 0, 0, 0xC0, 0}, wsProtocol},
		"a length of 2^63":                   {[]byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, wsProtocol},
		"a length of 1 TiB":                  {[]byte{0x82, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, wsTooBig},
		"a close of one byte":                {clientFrame(0x88, []byte{3}), wsProtocol},
		"a close with a reserved status":     {clientFrame(0x88, []byte{3, 0xED}), wsProtocol},
		"a close that is not UTF-8":          {clientFrame(0x88, []byte{3, 0xE8, 0xFF}), wsInvalid},
		"a valid close":                      {clientFrame(0x88, []byte{3, 0xE8, 'b', 'y', 'e'}), wsNormal},
		"a close without a status":           {clientFrame(0x88, nil), wsNormal},
		"a DISCONNECT":                       {clientFrame(0x82, []byte{0xE0, 0}), wsNormal},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			for _, version := range []byte{4, 5} {
				d := w.login(endpoint{"ws", version}, "a", "7")
				d.raw(tt.send)
				d.expectEnd(0)
				if d.closed != tt.status {
					t.Errorf("closed with %d, want %d", d.closed, tt.status)
				}
				early := w.dial(endpoint{"ws", version}) // the same, before its CONNECT
				early.raw(tt.send)
				early.expectEnd(0)
			}
		})
	}
}

func TestFragmentsAndPings(t *testing.T) {
	w := newWorld(t, Options{})
	d := w.dial(endpoint{"ws", 5})
	whole := connect{id: "a", token: "7", clean: true}.packet(5)
	var b []byte
	for i, c := range whole { // one fragment for each byte, with a ping between them
		first := byte(0)
		if i == 0 {
			first = 2
		}
		if i == len(whole)-1 {
			first |= 0x80
		}
		b = append(b, clientFrame(first, []byte{c})...)
		b = append(b, clientFrame(0x89, []byte{byte(i)})...)
	}
	d.raw(b)
	for i := range whole {
		if op, payload, err := d.frame(); op == wsBinary && i == len(whole)-1 || err != nil || op != wsPong || !bytes.Equal(payload, []byte{byte(i)}) {
			t.Fatalf("response %d is opcode %x % X, %v", i, op, payload, err)
		}
	}
	d.expectConnack(0)
	d.raw(clientFrame(0x82, nil))                                         // an empty message is ignored
	d.raw(clientFrame(0x8A, []byte("unasked")))                           // so is an unsolicited pong
	d.raw(clientFrame(0x82, append([]byte{0xC0, 0}, []byte{0xC0, 0}...))) // two packets in one message
	d.expect("D0 00")
	d.expect("D0 00")
}

func TestPacketSentWithTheUpgrade(t *testing.T) {
	w := newWorld(t, Options{})
	nc, err := net.Dial("tcp", w.ws)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	d := &device{t: t, nc: nc, ws: true, version: 5}
	d.raw(append([]byte("GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"),
		clientFrame(0x82, connect{id: strings.Repeat("i", 200), token: "7", clean: true}.packet(5))...))
	d.r = bufio.NewReader(nc)
	if res, err := http.ReadResponse(d.r, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	d.expectConnack(0)
}

// A third-party WebSocket library checks our frames.
func TestWebSocketLibrary(t *testing.T) {
	w := newWorld(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+w.ws+"/mqtt", &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	if err := c.Write(ctx, websocket.MessageBinary, connect{id: "a", token: "7", clean: true}.packet(5)); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.Read(ctx); err != nil || p[0] != 0x20 {
		t.Fatalf("% X %v", p, err)
	}
	if err := c.Write(ctx, websocket.MessageBinary, subscribe(5, 1, 0, nil, topic7)); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.Read(ctx); err != nil || p[0] != 0x90 {
		t.Fatalf("% X %v", p, err)
	}
	for _, size := range []int{1, 125, 126, 250, 4000} {
		if _, err := w.svc.Notify(ctx, bridge.Draft{User: "7", Title: "t", Message: strings.Repeat("x", size)}, nil); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(ctx); err != nil || !bytes.Contains(p, bytes.Repeat([]byte("x"), size)) {
			t.Fatalf("message of %d: % X %v", size, p, err)
		}
	}
	reading := c.CloseRead(ctx) // the pong must be read
	if err := c.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	if reading.Err() != nil {
		t.Error("the ping ended the connection")
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	w.eventually("gone", func(s Stats) bool { return s.Connections == 0 })
}

func TestTheUpgradeHandlerReturns(t *testing.T) {
	w := newWorld(t, Options{})
	returned := make(chan struct{}, 1)
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.broker.WebSocket().ServeHTTP(rw, r)
		returned <- struct{}{}
	}))
	defer web.Close()
	w.ws = web.Listener.Addr().String()
	d := w.login(endpoint{"ws", 5}, "a", "7")
	<-returned
	d.alive()
}

// Behind a proxy that does not pass Host on, the same origin looks like another one.
func TestAnOriginRefusedForItsHostSaysSo(t *testing.T) {
	w := newWorld(t, Options{})
	for name, tt := range map[string]struct{ host, want string }{
		"no Host":           {"", "has no Host"},
		"the proxy's own":   {"127.0.0.1:8080", "a proxy has to pass on"},
		"the origin's Host": {"app.example", "101 Switching"},
	} {
		nc, err := net.Dial("tcp", w.ws)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		_ = nc.SetDeadline(time.Now().Add(testTimeout))
		request := strings.Replace(upgradeRequest(tt.host), "Connection:", "Origin: https://app.example\r\nConnection:", 1)
		if _, err := nc.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4096)
		n, _ := nc.Read(got)
		if !strings.Contains(string(got[:n]), tt.want) {
			t.Errorf("%s: %s", name, got[:n])
		}
	}
}

// lockedLog is a log that handlers write and a test reads.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestFailedUpgradesAreLoggedWithTheirRequestIDOnceASecond(t *testing.T) {
	log := new(lockedLog)
	w := newWorld(t, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err := w.broker.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for range 100 {
		if status, _ := w.handshake(t, map[string]string{"X-Request-Id": "r-1"}); status != http.StatusServiceUnavailable {
			t.Fatalf("an upgrade while draining: %d", status)
		}
	}
	most := 2 + int(time.Since(begun)/time.Second)
	log.mu.Lock()
	defer log.mu.Unlock()
	n := strings.Count(log.b.String(), "level=WARN msg=\"a request failed\" component=broker request_id=r-1 operation=mqtt status=503 error=")
	if n == 0 || n > most {
		t.Errorf("%d lines, want 1 to %d: %s", n, most, log.b.String())
	}
}
