package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// metricNames returns the names of the metrics of a server with every feature on.
func metricNames(t *testing.T) map[string]string {
	t.Helper()
	certificate := testserver.Certificate(t)
	redis := testserver.NewRedis(t)
	p := testserver.Prepare(t, with("DATABASE_URL", testserver.Postgres(t), "FALCON_BUS", redis.URL, "FALCON_RELAY_URL", "mqtt://127.0.0.1:1",
		"FALCON_TLS_CERT", certificate.Cert, "FALCON_TLS_KEY", certificate.Key,
		"FALCON_VAPID_KEY_FILE", testserver.NewVAPIDKey(t), "FALCON_VAPID_CONTACT", "mailto:ops@example.com",
		"FALCON_WEBHOOK_URL", "http://127.0.0.1:1/", "FALCON_WEBHOOK_SECRET_FILE", file(t, webhookSecret), "FALCON_WEBHOOK_WHEN", "unread 1h"))
	if err := p.Begin(); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	types := regexp.MustCompile(`(?m)^# TYPE (falconbridge_\w+) (\w+)$`)
	testserver.Eventually(t, waitLimit, func() error {
		text, err := fetch(p.Admin + "/metrics")
		for _, m := range types.FindAllStringSubmatch(text, -1) {
			names[m[1]] = m[2]
		}
		if err == nil && (names["falconbridge_connections"] == "" || names["falconbridge_late_waiting"] == "") {
			err = os.ErrNotExist // not started yet, or not yet the node that follows late notifications
		}
		return err
	})
	return names
}

func fetch(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// A panel that stays empty, or an alert that can never fire, is worse than none.
func TestEveryMetricThatADocumentDashboardOrRuleNamesExistsAndIsDocumented(t *testing.T) {
	t.Parallel()
	names := metricNames(t)
	mention := regexp.MustCompile(`\bfalconbridge_[a-z0-9_]+\b`)
	documented := make(map[string]bool)
	for _, root := range []string{"../../docs", "../../deploy", "../../README.md"} {
		err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			switch filepath.Ext(path) {
			case ".md", ".json", ".yml", ".yaml":
			default:
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, name := range mention.FindAllString(string(text), -1) {
				base := name
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					if cut, found := strings.CutSuffix(name, suffix); found && names[cut] == "histogram" {
						base = cut
					}
				}
				if names[base] == "" {
					t.Errorf("%s names %s, which is no metric", path, name)
				}
				if strings.HasSuffix(path, "docs/metrics.md") {
					documented[base] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range names {
		if !documented[name] {
			t.Errorf("docs/metrics.md does not name %s", name)
		}
	}
}
