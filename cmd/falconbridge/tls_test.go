package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

func trust(t *testing.T, f testserver.CertificateFiles) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(f.Cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

func TestOneCertificateServesHTTPSAndMQTTOverTLS(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key)
	https := strings.Replace(p.HTTP, "http://", "https://", 1)
	wss := strings.Replace(p.WS, "ws://", "wss://", 1)
	conf := trust(t, f)
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

// A handshake costs a signature, before any request can be refused.
func TestTLSHandshakesOfOneAddressAreRated(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	for setting, refused := range map[string]bool{"30/m": true, "off": false} {
		p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key, "--connect-rate-per-ip="+setting)
		for _, addr := range []string{mqtts, strings.TrimPrefix(p.HTTP, "http://")} {
			failed := 0
			for range 20 {
				d := tls.Dialer{Config: trust(t, f)}
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
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // which one it is, is the question
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

func TestAHalfWrittenCertificateChangesNothing(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	c, err := newCertificate(f.Cert, f.Key, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	before := c.current.Load()
	if err := os.WriteFile(f.Cert, []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	if news, err := c.load(); err == nil || news {
		t.Errorf("half a certificate: news %v, error %v", news, err)
	}
	if c.current.Load() != before {
		t.Error("the former certificate is gone")
	}
	f.Renew(t)
	if news, err := c.load(); err != nil || !news {
		t.Errorf("a whole one: news %v, error %v", news, err)
	}
	if news, err := c.load(); err != nil || news {
		t.Errorf("the same again: news %v, error %v", news, err)
	}
}

func TestATeardownThatHangsKeepsNobodyBack(t *testing.T) {
	t.Parallel()
	var order []string
	td := teardown{log: slog.New(slog.DiscardHandler)}
	td.add("first", time.Second, func(context.Context) error { order = append(order, "first"); return nil })
	td.add("hanging", 10*time.Millisecond, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	td.add("last", time.Second, func(context.Context) error { order = append(order, "last"); return nil })
	err := td.run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "stop the hanging") {
		t.Errorf("error %v", err)
	}
	if len(order) != 2 || order[0] != "last" || order[1] != "first" {
		t.Errorf("order %q, want the last first", order)
	}
}
