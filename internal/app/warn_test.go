package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/config"
)

func TestUnsafeKeySettingsAreWarnedAbout(t *testing.T) {
	for want, s := range map[string]map[string]string{
		"issued for other applications":        {"jwt-secret": testSecret, "jwt-audience": "any"},
		"including base64: or hex:":            {"jwt-secret": "base64:" + testSecret},
		"begins or ends with white space":      {"jwt-secret": testSecret + " "},
		"ends with white space, which is part": {"jwt-secret-file": file(t, newSecret+"\n "+testSecret+"\n")},
		"":                                     {"jwt-secret-file": file(t, "base64:"+strings.Repeat("AAAA", 20)+"\n"), "jwt-audience": "falcon"},
	} {
		var log bytes.Buffer
		c, bad := config.Read(s, nil).Check(config.All())
		if err := bad.Err(); err != nil {
			t.Fatal(err)
		}
		warnKeys(c.Keys, slog.New(slog.NewTextHandler(&log, nil)))
		if strings.Contains(log.String(), testSecret) || want == "" && log.Len() > 0 || !strings.Contains(log.String(), want) {
			t.Errorf("want %q: %s", want, log.String())
		}
	}
}

func TestSecretsOnTheCommandLineAreFound(t *testing.T) {
	c, _ := config.Read(map[string]string{"jwt-secret": testSecret, "database-url": "postgres://u:p@db/n", "relay-url": "mqtt://broker:1883"},
		[]string{"FALCON_BUS=redis://:p@r:6379"}).Check(nil)
	if got := c.Exposed(); !slices.Equal(got, []string{"database-url", "jwt-secret"}) {
		t.Errorf("found %v", got) // that of the bus is in the environment, and the relay URL has none
	}
}

func TestAnUnverifiedDatabaseIsWarnedAbout(t *testing.T) {
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
		warn(&config.Config{MQTT: tt.mqtt, MQTTS: tt.mqtts, SQLite: true}, slog.New(slog.NewTextHandler(&out, nil)))
		if got := strings.Contains(out.String(), "unencrypted to --mqtt-addr"); got != tt.want {
			t.Errorf("%s: warned %v, want %v: %s", name, got, tt.want, out.String())
		}
	}
}

const (
	testSecret = "0123456789abcdef0123456789abcdef"
	newSecret  = "a new secret of more than 32 bytes, for rotations"
)

// file writes a file of the test.
func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
