package broker

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // required by the handshake of RFC 6455 §4.2.2; not used for security
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WebSocket returns the handler of GET /mqtt, which serves MQTT over WebSocket (MQTT 5 §6,
// RFC 6455). It returns as soon as the connection is upgraded. The connection then has a
// goroutine of its own and keeps neither the request nor net/http's buffers. Compression is
// not supported.
func (b *Broker) WebSocket() http.Handler { return http.HandlerFunc(b.upgrade) }

func (b *Broker) upgrade(w http.ResponseWriter, r *http.Request) {
	status, why := b.checkUpgrade(r)
	if status == http.StatusUpgradeRequired {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
	}
	switch status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
		b.count.limited[LimitUpgradesPerAddress].Add(1)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
		b.count.turnedAway.Add(1)
		b.count.limited[LimitPending].Add(1)
	}
	if status != 0 {
		b.refuseUpgrade(w, r, status, why)
		return
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		b.refuseUpgrade(w, r, http.StatusHTTPVersionNotSupported, "a WebSocket needs HTTP/1.1")
		return
	}
	kind := "ws"
	if r.TLS != nil {
		kind = "wss"
	}
	c := newConn(b, nc, kind, r.RemoteAddr)
	c.ws = &wsReader{early: buffered(rw.Reader)}
	_ = nc.SetDeadline(time.Now().Add(b.o.ConnectTimeout)) // replaces the HTTP server's
	if _, err := nc.Write(upgradeResponse(r)); err != nil || !b.start(c) {
		_ = nc.Close()
	}
}

// checkUpgrade returns status 0 if the request may be upgraded, else the HTTP status and the
// detail of the problem. The detail never repeats anything from the request.
func (b *Broker) checkUpgrade(r *http.Request) (status int, why string) {
	if !b.admission.upgrades.Allow(address(r.RemoteAddr)) {
		return http.StatusTooManyRequests, "too many WebSockets are opened from this address"
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	switch {
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, "a WebSocket is opened with GET"
	case !headerLists(r.Header, "Connection", "upgrade"), !headerLists(r.Header, "Upgrade", "websocket"):
		return http.StatusUpgradeRequired, "this endpoint serves MQTT over WebSocket"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return http.StatusUpgradeRequired, "the WebSocket version must be 13"
	case err != nil || len(key) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) != 1:
		return http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes of base64"
	case !b.o.Origins.Allows(r.Header.Get("Origin"), r.Host):
		if r.Host == "" {
			return http.StatusForbidden, "this origin is not allowed: it is not in --cors-origins, and the request has no Host to compare it with"
		}
		return http.StatusForbidden, "this origin is not allowed: it is neither in --cors-origins nor the request's Host, which a proxy has to pass on"
	case !headerLists(r.Header, "Sec-WebSocket-Protocol", "mqtt"): // [MQTT-6.0.0-3]
		return http.StatusBadRequest, "the subprotocol mqtt is required"
	case b.admission.pendingFull(address(r.RemoteAddr)):
		return http.StatusServiceUnavailable, "too many connections are open"
	}
	return 0, ""
}

// headerLists reports whether the comma-separated header name contains token, ignoring
// case.
func headerLists(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// refuseUpgrade writes an RFC 9457 problem. It logs those of 5xx, at most one a second, so
// that a flood of requests does not become a flood of log lines.
func (b *Broker) refuseUpgrade(w http.ResponseWriter, r *http.Request, status int, why string) {
	if status >= http.StatusInternalServerError && b.upgradeFailures.Allow(struct{}{}) {
		b.log.Warn("a request failed", "request_id", r.Header.Get("X-Request-Id"), "operation", "mqtt", "status", status, "error", why)
	}
	body := `{"type":"about:blank","title":` + strconv.Quote(http.StatusText(status)) +
		`,"status":` + strconv.Itoa(status) + `,"detail":` + strconv.Quote(why) + `}`
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

const wsGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 §1.3

// upgradeResponse returns the response that switches protocols.
func upgradeResponse(r *http.Request) []byte {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + wsGUID)) //nolint:gosec // see the import
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

// buffered returns a copy of what the client has already sent after its request, so that
// net/http's 4 KiB buffer can be freed.
func buffered(r *bufio.Reader) []byte {
	n := r.Buffered()
	if n == 0 {
		return nil
	}
	b, _ := r.Peek(n)
	return append([]byte(nil), b...)
}
