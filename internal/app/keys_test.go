package app

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/bridge/webhook"
	"github.com/falconalert/falconbridge/internal/config"
)

// A file that is read while it is being written contains half a secret, which may be long
// enough to be valid. So a change counts only once two readings agree.
func TestAHalfWrittenKeyFileReplacesNoKey(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(testSecret)
	v, err := token.NewVerifier(t.Context(), token.Options{Secrets: [][]byte{[]byte(testSecret)}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Verify(t.Context(), sign(t))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	failures := 0
	f := &keyFiles{k: config.Keys{Secrets: [][]byte{[]byte(testSecret)}, SecretFile: name}, verifier: v,
		unusable: func(string) { failures++ }, log: slog.New(slog.NewTextHandler(&log, nil))}
	f.reload(true)
	for _, half := range []string{newSecret[:32], newSecret[:40], "", newSecret} {
		write(half)
		f.reload(false)
		if !v.Knows(c.Key) {
			t.Fatalf("%q replaced the secret after a single reading", half)
		}
	}
	f.reload(false)
	if v.Knows(c.Key) {
		t.Error("the new secret did not replace the former one after two readings")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	failures = 0
	for range 5 {
		f.reload(false)
	}
	if got := strings.Count(log.String(), "the former keys stay"); got != 1 || failures != 5 {
		t.Errorf("a missing file is logged %d times and counted %d times in 5 readings: %s", got, failures, log.String())
	}
}

// A file that a full disk or a failed redirection has emptied must not end every connection
// and refuse every login.
func TestAnEmptiedPublicKeyFileReplacesNoKey(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	name := file(t, string(key))
	v, err := token.NewVerifier(t.Context(), token.Options{PublicKeyPEM: key})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	failures := make(map[string]int)
	f := &keyFiles{k: config.Keys{PublicPEM: key, PublicFile: name}, verifier: v,
		unusable: func(setting string) { failures[setting]++ }, log: slog.New(slog.NewTextHandler(&log, nil))}
	f.reload(true)
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	f.reload(false)
	f.reload(false)
	f.reload(true) // SIGHUP
	if strings.Contains(log.String(), "were replaced") || !strings.Contains(log.String(), "the former keys stay") {
		t.Errorf("an empty file replaced the keys: %s", log.String())
	}
	if failures["jwt-public-key-file"] == 0 || len(failures) != 1 {
		t.Errorf("counted %v", failures)
	}
}

// Kubernetes mounts a secret as symlinks to files below ..data, itself a symlink, which
// it replaces by a rename once the new files are complete.
func TestAKeyFileThatKubernetesReplacesCounts(t *testing.T) {
	dir := t.TempDir()
	publish := func(version, secret string) {
		t.Helper()
		for _, err := range []error{
			os.Mkdir(filepath.Join(dir, version), 0o700),
			os.WriteFile(filepath.Join(dir, version, "jwt-secret"), []byte(secret), 0o600),
			os.Symlink(version, filepath.Join(dir, "..data_tmp")),
			os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	publish("..1", testSecret)
	name := filepath.Join(dir, "jwt-secret")
	if err := os.Symlink(filepath.Join("..data", "jwt-secret"), name); err != nil {
		t.Fatal(err)
	}
	v, err := token.NewVerifier(t.Context(), token.Options{Secrets: [][]byte{[]byte(testSecret)}})
	if err != nil {
		t.Fatal(err)
	}
	f := &keyFiles{k: config.Keys{Secrets: [][]byte{[]byte(testSecret)}, SecretFile: name}, verifier: v,
		unusable: func(setting string) { t.Errorf("%s cannot be used", setting) }, log: slog.New(slog.DiscardHandler)}
	f.reload(true)
	raw := sign(t)
	publish("..2", newSecret+"\n"+testSecret)
	f.reload(false)
	f.reload(false)
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Errorf("the old secret is still in the file: %v", err)
	}
	publish("..3", newSecret)
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	f.reload(false)
	f.reload(false)
	if _, err := v.Verify(t.Context(), raw); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("the old secret left the file: %v", err)
	}
}

// Receivers accept either secret while a webhook secret is rotated, so the sender signs
// with all that its file has.
func TestWebhookSecretsRotateAndABrokenFileKeepsThem(t *testing.T) {
	signatures := make(chan string, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		signatures <- r.Header.Get("webhook-signature")
	}))
	defer receiver.Close()
	to, err := url.Parse(receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	const first, next = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "whsec_YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAx"
	name := file(t, first+"\n")
	secrets, err := webhook.ParseSecrets([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	sender := webhook.NewSender(to, secrets)
	var log bytes.Buffer
	failures := 0
	f := &secretFile{name: name, sender: sender, unusable: func(string) { failures++ }, log: slog.New(slog.NewTextHandler(&log, nil))}
	f.reload(true)
	signed := func() int {
		t.Helper()
		if o := sender.Send(t.Context(), "msg_1", late.Rule{When: late.Unread}, &bridge.Notification{ID: 1, User: "1"}); o.Err != nil {
			t.Fatal(o.Err)
		}
		return len(strings.Fields(<-signatures))
	}
	for _, step := range []struct {
		content          string
		signatures, fail int
	}{{first + "\n" + next + "\n", 2, 0}, {"not a secret", 2, 4}, {next, 1, 4}} {
		if err := os.WriteFile(name, []byte(step.content), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 5 { // the first reading only sees that the file changes
			f.reload(false)
		}
		if got := signed(); got != step.signatures || failures != step.fail {
			t.Errorf("after %q: %d signatures and %d failures, want %d and %d", step.content, got, failures, step.signatures, step.fail)
		}
	}
	if got := strings.Count(log.String(), "the former secrets stay"); got != 1 {
		t.Errorf("the broken file is logged %d times: %s", got, log.String())
	}
}

func sign(t *testing.T) string {
	t.Helper()
	s, err := token.NewSigner(token.SignerOptions{Secret: []byte(testSecret)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(bridge.Claims{User: "1", ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
