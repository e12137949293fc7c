package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/config"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// The command line is no profile: it holds what was given as flags.
func TestTheProfilesDoNotTellTheSecretsAmongTheFlags(t *testing.T) {
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
			t.Errorf("%s tells the secret", path)
		}
	}
	if log := p.Log(); !strings.Contains(log, "stands on the command line") || strings.Contains(log, secret) {
		t.Errorf("no warning, or one that tells too much: %s", log)
	}
}

// A name of a stranger's that points to this machine, in a browser on it.
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
	w := httptest.NewRecorder() // a listener for other machines has a name
	namedByAddress("0.0.0.0:9091", http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://metrics.example/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("a listener for other machines answers %d to its name", w.Code)
	}
}

func TestSecretsOnTheCommandLineAreFound(t *testing.T) {
	s := config.Read(map[string]string{"jwt-secret": testSecret, "database-url": "postgres://u:p@db/n", "relay-url": "mqtt://broker:1883"},
		[]string{"FALCON_BUS=redis://:p@r:6379"})
	if got := s.Exposed(); !slices.Equal(got, []string{"database-url", "jwt-secret"}) {
		t.Errorf("found %v", got) // the bus's is of the environment, the relay has none
	}
}

func TestAnUnverifiedDatabaseIsTold(t *testing.T) {
	for url, want := range map[string]string{
		"":                                        "",
		"sqlite:/data/f.db":                       "",
		"postgres://u:p@127.0.0.1/n":              "",
		"postgres://u:p@localhost:5432/n":         "",
		"postgres://u:p@[::1]/n":                  "",
		"postgres://u@/n?host=/run/postgresql":    "",
		"postgres://u:p@db/n":                     "not verified",
		"postgres://u:p@db/n?sslmode=require":     "not verified",
		"postgres://u:p@192.0.2.7/n":              "not verified",
		"postgres://u:p@db/n?sslmode=disable":     "not encrypted",
		"postgres://u:p@/n?host=db":               "not encrypted",
		"postgres://u:p@db/n?sslmode=verify-full": "",
		"postgres://u:p@db/n?sslmode=verify-ca":   "",
	} {
		got := databaseRisk(url)
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

func TestOpenWaysPastTheClientAuthorityAreTold(t *testing.T) {
	t.Parallel()
	f := testserver.Certificate(t)
	mqtts := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	p := testserver.NewProgram(t, production, "--mqtts-addr="+mqtts, "--tls-cert="+f.Cert, "--tls-key="+f.Key,
		"--tls-client-ca="+file(t, newAuthority(t).pem))
	if !strings.Contains(p.Log(), "devices without a certificate still get in at --mqtt-addr and over WebSocket") {
		t.Errorf("no warning: %s", p.Log())
	}
}

func TestAPlaintextListenerNextToTLSIsWarnedAbout(t *testing.T) {
	for name, tt := range map[string]struct {
		mqtt, mqtts string
		want        bool
	}{
		"both, on all addresses":  {":1883", ":8883", true},
		"both, on one address":    {"192.0.2.7:1883", "192.0.2.7:8883", true},
		"plaintext on loopback":   {"127.0.0.1:1883", ":8883", false},
		"plaintext on localhost":  {"localhost:1883", ":8883", false},
		"TLS alone":               {"", ":8883", false},
		"plaintext alone":         {":1883", "", false},
		"WebSocket alone":         {"", "", false},
		"plaintext on IPv6's ::":  {"[::]:1883", ":8883", true},
		"plaintext on IPv6's ::1": {"[::1]:1883", ":8883", false},
	} {
		var out bytes.Buffer
		warn(&program{settings: config.Read(nil, nil)}, &config.Config{MQTT: tt.mqtt, MQTTS: tt.mqtts, SQLite: true}, slog.New(slog.NewTextHandler(&out, nil)))
		if got := strings.Contains(out.String(), "unencrypted, to --mqtt-addr"); got != tt.want {
			t.Errorf("%s: warned %v, want %v: %s", name, got, tt.want, out.String())
		}
	}
}
