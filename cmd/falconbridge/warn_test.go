package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// /debug/pprof/cmdline would show the flags, which may contain secrets.
func TestProfilesDoNotRevealSecretsInFlags(t *testing.T) {
	t.Parallel()
	const secret = "a secret that was typed, of forty bytes."
	p := testserver.NewProgram(t, nil, "--jwt-secret="+secret)
	for path, status := range map[string]int{
		"/debug/pprof/cmdline": 404, "/debug/pprof/cmdline/": 404, "/debug/pprof/cmdline?debug=1": 404, "/debug/pprof//cmdline": 404,
		"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=2": 200, "/metrics": 200,
	} {
		res, err := http.Get(p.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != status {
			t.Errorf("%s: status %d, %v; want %d", path, res.StatusCode, err, status)
		}
		if strings.Contains(string(b), secret) {
			t.Errorf("%s contains the secret", path)
		}
	}
	if log := p.Log(); !strings.Contains(log, "is on the command line") || strings.Contains(log, secret) {
		t.Errorf("no warning, or one with too much in it: %s", log)
	}
}

// An attacker's host name may resolve to this machine in a browser that runs on it.
func TestDNSRebindingDoesNotReachTheAdminListener(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, production)
	_, port, _ := strings.Cut(strings.TrimPrefix(p.Admin, "http://"), ":")
	for host, status := range map[string]int{
		"127.0.0.1:" + port: 200, "localhost:" + port: 200, "LOCALHOST": 200, "[::1]:" + port: 200, "[::1]": 200, "127.0.0.1": 200,
		"attacker.example:" + port: 421, "attacker.example": 421, "localhost.attacker.example": 421, "127.0.0.1.nip.io:" + port: 421,
	} {
		for _, path := range []string{"/metrics", "/debug/pprof/heap", "/healthz"} {
			r, err := http.NewRequest(http.MethodGet, p.Admin+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != status {
				t.Errorf("%s of %s: status %d, want %d", path, host, res.StatusCode, status)
			}
		}
	}
}

func TestListenersWithoutTheClientAuthorityAreWarnedAbout(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key,
		"--tls-client-ca="+file(t, testserver.NewAuthority(t).PEM))
	if !strings.Contains(p.Log(), "devices without a certificate still get in at --mqtt-addr and over WebSocket") {
		t.Errorf("no warning: %s", p.Log())
	}
}
