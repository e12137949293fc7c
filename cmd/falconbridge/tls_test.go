package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func TestOneCertificateServesHTTPSAndMQTTOverTLS(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key)
	https := strings.Replace(p.HTTP, "http://", "https://", 1)
	wss := strings.Replace(p.WS, "ws://", "wss://", 1)
	conf := f.Trust(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}}
	user := caller{base: https, token: sign(t, "1", 0), client: client}
	user.do(t, "GET", "/notifications", nil, 200, nil)

	_, port, _ := strings.Cut(mqtts, ":")
	sub := begin(t, exec.Command("stdbuf", "-oL", testserver.MosquittoSub(t), "-d", "-h", "localhost", "-p", port, "--cafile", f.Cert,
		"-V", "mqttv5", "-q", "1", "-u", "x", "-P", sign(t, "1", 0), "-t", "users/1/reports/status"))
	sub.says(t, "Subscribed (mid:")
	env := append(testserver.Environ(production), "SSL_CERT_FILE="+f.Cert)
	ws := p.Command("tail", "--user=1", "--mqtt-url", wss, "--count=1")
	ws.Env = env
	tail := begin(t, ws)
	tail.says(t, "subscribed")
	if out, errs, code := finish(t, p.Command("send", "--user=1", "--title=T", "--message=M")); code != 0 {
		t.Fatalf("send over HTTPS: exit %d, %s%s", code, out, errs)
	}
	if got, want := sub.json(t, 1)[0], user.raws(t)[0]; got != want || tail.json(t, 1)[0] != want {
		t.Errorf("over TLS: %q, over WSS: %q, want %q", got, tail.out.String(), want)
	}
	if _, errs, code := finish(t, p.Command("healthcheck")); code != 0 {
		t.Errorf("healthcheck over HTTPS: exit %d, %s", code, errs)
	}

	for _, addr := range []string{mqtts, strings.TrimPrefix(https, "https://")} {
		old := conf.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		d := tls.Dialer{Config: old}
		if c, err := d.DialContext(t.Context(), "tcp", addr); err == nil {
			_ = c.Close()
			t.Errorf("%s speaks TLS 1.1", addr)
		}
	}
}

// A handshake costs a signature before any request can be refused.
func TestTLSHandshakesOfOneAddressAreRateLimited(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	for setting, refused := range map[string]bool{"30/m": true, "off": false} {
		p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key, "--connect-rate-per-ip="+setting)
		for _, addr := range []string{mqtts, strings.TrimPrefix(p.HTTP, "http://")} {
			failed := 0
			for range 20 {
				d := tls.Dialer{Config: f.Trust(t)}
				c, err := d.DialContext(t.Context(), "tcp", addr)
				if err != nil {
					failed++
					continue
				}
				_ = c.Close()
			}
			if (failed > 0) != refused {
				t.Errorf("--connect-rate-per-ip=%s: %s refuses %d of 20 handshakes", setting, addr, failed)
			}
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestAChangedCertificateIsServedWithoutARestart(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	p := testserver.NewProgram(t, production, "--tls-cert="+f.Cert, "--tls-key="+f.Key)
	addr := strings.TrimPrefix(p.HTTP, "http://")
	serial := func() string {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // the test looks at the certificate itself
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	f.Renew(t)
	testserver.Eventually(t, 30*time.Second, func() error {
		if serial() == before {
			return fmt.Errorf("still the old certificate")
		}
		return nil
	})
}
