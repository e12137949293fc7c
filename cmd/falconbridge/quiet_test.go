package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/mqttwire"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// mark is part of everything that must not be disclosed: tokens, passwords, titles,
// messages, addresses of people.
const mark = "Geheimnis"

// marked is a token of user 7 with an e-mail address in it.
func marked(t *testing.T, scope bridge.Scope, ttl time.Duration) string {
	t.Helper()
	s, err := token.NewSigner(token.SignerOptions{Secret: []byte(testSecret)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(bridge.Claims{User: "7", Scope: scope, ExpiresAt: time.Now().Add(ttl)}, map[string]any{"email": mark + "@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// overheard collects all output of the program in which a secret must not appear.
type overheard struct {
	t    *testing.T
	text strings.Builder
}

// call records the response's headers, and its body if it is an error.
func (o *overheard) call(method, url, bearer, body string, headers ...string) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	res.Header.Del("X-Unknown-Fields") // it names the caller's own fields, escaped and truncated
	fmt.Fprintln(&o.text, res.StatusCode, res.Header)
	if res.StatusCode >= 400 {
		o.text.Write(b)
	}
}

// mqtt sends packets and records every response.
func (o *overheard) mqtt(addr string, packets ...[]byte) {
	o.t.Helper()
	nc := dial(o.t, addr)
	_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
	for _, p := range packets {
		write(o.t, nc, p)
	}
	_ = nc.(interface{ CloseWrite() error }).CloseWrite()
	b, _ := io.ReadAll(nc)
	for len(b) > 0 {
		n := mqttwire.PacketLen(b)
		if n == 0 {
			n = len(b)
		}
		// The user's own notifications, to which the device subscribed, are not a leak.
		if !bytes.Contains(b[:n], []byte("users/7/reports/status")) || b[0]&0xF0 != mqttwire.Publish {
			o.text.Write(b[:n])
		}
		b = b[n:]
	}
	_ = nc.Close()
}

// packet is a control packet.
func packet(first byte, parts ...string) []byte {
	return mqttwire.AppendPacket(nil, first, []byte(strings.Join(parts, "")))
}

// short is a UTF-8 string of MQTT.
func short(s string) string { return string(mqttwire.AppendString(nil, s)) }

func TestNothingSecretIsDisclosed(t *testing.T) {
	t.Parallel()
	pg := testserver.NewPostgres(t)
	redis := testserver.NewRedis(t, "--requirepass", mark)
	p := testserver.NewProgram(t, with(
		"DATABASE_URL", strings.Replace(pg.URL, "falcon@", "falcon:"+mark+"@", 1),
		"FALCON_BUS", strings.Replace(redis.URL, "redis://", "redis://:"+mark+"@", 1),
		"FALCON_RELAY_URL", fmt.Sprintf("mqtt://me:%s@127.0.0.1:%d", mark, testserver.FreePort(t)), // nothing listens
	), "--log-level=debug", "--log-format=json", "--request-rate-per-user=5/s", "--trusted-proxies=127.0.0.1")
	o := &overheard{t: t}
	own, all := marked(t, 0, time.Hour), marked(t, bridge.ScopeAdmin, time.Hour)

	o.rest(p.HTTP, own, all)
	o.devices(p.MQTT, own)
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	o.rest(p.HTTP, own, all)
	o.devices(p.MQTT, own)
	for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		res, err := http.Get(p.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		o.text.Write(b)
	}
	o.text.WriteString(p.Log() + p.Stdout())
	for _, want := range []string{`"level":"DEBUG"`, "200 map", "201 map", "400 map", "401 map", "403 map", "404 map", "409 map", "422 map", "429 map", "503 map",
		"falconbridge_limited_total", "the relay reconnects", "Redis does not respond", `"msg":"a login was refused"`, `"code":"0x88"`} {
		if !strings.Contains(o.text.String(), want) {
			t.Errorf("no %q: the test does not drive what it should", want)
		}
	}
	disclosesNothing(t, o.text.String(), own, all)
	for _, line := range lines(p.Log()) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("a library speaks for itself: %s", line)
		}
	}
	if err := pg.Start(); err != nil { // so that the program can stop in order
		t.Fatal(err)
	}
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitReady(waitLimit); err != nil {
		t.Error(err)
	}
}

// disclosesNothing fails if text contains a marked secret, plain or encoded as in a token.
func disclosesNothing(t *testing.T, text string, tokens ...string) {
	t.Helper()
	secrets := []string{mark, strings.ToLower(mark), testSecret, "eyJ", base64.StdEncoding.EncodeToString([]byte(mark))[:10]}
	for _, raw := range tokens {
		secrets = append(secrets, raw[strings.LastIndexByte(raw, '.')+1:])
	}
	for _, line := range lines(text) {
		for _, s := range secrets {
			if strings.Contains(line, s) {
				t.Errorf("a secret (%.12s) is in: %.400s", s, line)
				break
			}
		}
	}
}

// rest makes calls with marks wherever a caller can put text.
func (o *overheard) rest(base, own, all string) {
	good := `{"created_by":7,"title":"` + mark + `","message":"` + mark + `","data":{"` + mark + `":"` + mark + `"}}`
	o.call("POST", base+"/notifications", all, good, "Idempotency-Key", mark)
	o.call("POST", base+"/notifications", all, strings.Replace(good, "7", "8", 1), "Idempotency-Key", mark) // another body
	o.call("POST", base+"/notifications/batch", all, `{"notifications":[`+good+`]}`)
	o.call("POST", base+"/reports", all, `{"id":1,"title":"`+mark+`","created_by":7}`)
	o.call("POST", base+"/reports", all, `{"id":1,"title":"`+mark+`","created_by":7}`) // conflict
	o.call("PUT", base+"/admin/reports/1/status", all, `{"status_id":2}`)
	for _, bad := range []string{
		`{"created_by":7,"title":"` + mark + `","message":1}`, `{"created_by":"` + mark + `/","title":"a","message":"b"}`,
		`{"` + mark + `":`, `{"title":"` + strings.Repeat(mark, 200) + `"}`, mark, `{"created_by":7,"title":"` + mark + `\u0000","message":"` + mark + `"}`,
		`{"title":"` + mark + `","title":"` + mark + `"}`,
	} {
		o.call("POST", base+"/notifications", all, bad)
	}
	o.call("POST", base+"/notifications", own, good) // 403
	for _, bearer := range []string{mark, own + mark, own[:len(own)-2] + "xx", "a." + mark + ".b", marked(o.t, 0, -time.Hour)} {
		o.call("GET", base+"/notifications", bearer, "")
	}
	o.call("GET", base+"/notifications?token="+own+"&limit="+mark+"&before="+mark, own, "")
	o.call("GET", base+"/"+mark+"/"+own, own, "")
	o.call("GET", base+"/users/"+mark+"%2F/notifications", all, "")
	o.call(mark, base+"/notifications", own, "")
	o.call("GET", base+"/notifications", own, "", "X-Forwarded-For", mark)
	o.call("GET", base+"/notifications", own, "", "Origin", "https://"+mark+".example")
	o.call("GET", base+"/mqtt", own, "", "Sec-WebSocket-Protocol", mark, "Origin", "https://"+mark+".example")
	o.call("POST", base+"/admin/revocations", all, `{"jti":"`+mark+`"}`)
	o.call("PATCH", base+"/settings", own, `{"is_review_enabled":"`+mark+`"}`)
	for range 8 { // beyond the rate
		o.call("GET", base+"/settings", own, "")
	}
}

// devices log in and misbehave, with marks wherever a device can put text.
func (o *overheard) devices(addr, own string) {
	connect := func(version byte, flags byte, rest ...string) []byte {
		head := short("MQTT") + string([]byte{version, flags, 0, 60})
		if version == 5 {
			head += "\x00"
		}
		return packet(0x10, append([]string{head}, rest...)...)
	}
	proxy := string(proxied("198.51.100.1"))
	for _, version := range []byte{4, 5} {
		props, id := "", fmt.Sprint("device", version)
		if version == 5 {
			props = "\x00"
		}
		in := append([]byte(proxy), connect(version, 0xC2, short(id), short(mark+"@example.org"), short(own))...)
		o.mqtt(addr, in,
			packet(0x82, "\x00\x01", props, short("users/7/reports/status"), "\x01"),
			packet(0x82, "\x00\x02", props, short("users/"+mark+"/reports/status"), "\x01"),
			packet(0x30, short("users/7/"+mark), props, mark))
		o.mqtt(addr, in, packet(0x32, short("users/7/"+mark), "\x00\x03", props, mark))
		o.mqtt(addr, in, packet(0x82, "\x00\x02", props, short(mark+"/#/"), "\x01")) // malformed
		o.mqtt(addr, in, in[len(proxy):])                                            // CONNECT twice
		o.mqtt(addr, in, packet(0x35, mark))
		for _, tok := range []string{mark, own + mark, marked(o.t, 0, -time.Hour), mark + "." + mark + "." + mark} {
			o.mqtt(addr, append([]byte(proxy), connect(version, 0xC2, short(id), short(tok), short(tok))...))
			o.mqtt(addr, append([]byte(proxy), connect(version, 0x82, short(id), short(tok))...))
		}
		will := ""
		if version == 5 {
			will = "\x00"
		}
		o.mqtt(addr, append([]byte(proxy), connect(version, 0xC6, short(id), will, short(mark), short(mark), short(mark), short(mark))...))
		o.mqtt(addr, []byte(proxy), packet(0x10, short(mark), mark))
		o.mqtt(addr, []byte(proxy), []byte("GET /"+mark+" HTTP/1.1\r\nAuthorization: Bearer "+own+"\r\n\r\n"))
		o.mqtt(addr, []byte("PROXY TCP4 "+mark+" 1 2 3\r\n"))
	}
	auth := "\x19" + string([]byte{byte(8 + len(mark) + 3 - 2)}) // deliberately malformed
	o.mqtt(addr, append([]byte(proxy), packet(0x10, short("MQTT"), "\x05\xC2\x00\x3C\x06\x15", short("jwt"), short("a"), short(mark), short(own))...), packet(0xF0, auth, short(mark)))
}

// Errors about settings contain their names, not their values.
func TestABadSettingIsNotEchoed(t *testing.T) {
	dir := t.TempDir()
	secretFile := filepath.Join(dir, "secret")
	if err := os.WriteFile(secretFile, []byte(mark), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"a short secret":               {"--jwt-secret=" + mark},
		"a short secret in a file":     {"--jwt-secret-file=" + secretFile},
		"a database of the wrong":      {"--database-url=mysql://u:" + mark + "@h/d"},
		"a database that is not a URL": {"--database-url=postgres://u:" + mark + "%zz@h/d"},
		"a bus that is invalid":        {"--bus=kafka://:" + mark + "@h"},
		"a bus that is not a URL":      {"--bus=redis://:" + mark + "%zz@h"},
		"a relay that is invalid":      {"--relay-url=http://u:" + mark + "@h"},
		"a relay that is not a URL":    {"--relay-url=mqtt://u:" + mark + "%zz@h"},
		"a key that is invalid":        {"--jwt-public-key-file=" + secretFile},
		"a private key that is not":    {"--jwt-private-key-file=" + secretFile},
		"a key set of the wrong":       {"--jwt-jwks-url=http://u:" + mark + "@example.com/k"},
	} {
		for _, command := range []string{"serve", "config"} {
			code, out, errs := invoke(t, map[string]string{"FALCON_DATA_DIR": dir}, append([]string{command}, args...)...)
			if code != 1 {
				t.Errorf("%s: %s: exit %d", name, command, code)
			}
			disclosesNothing(t, out+errs)
		}
	}
}
