package app

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/config"
)

// A file that is read while it is written holds half a secret, which may be long
// enough. It counts when two readings agree.
func TestAHalfWrittenKeyFileEndsNothing(t *testing.T) {
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
	f := &keyFiles{k: config.Keys{Secrets: [][]byte{[]byte(testSecret)}, SecretFile: name}, verifier: v, log: slog.New(slog.NewTextHandler(&log, nil))}
	f.look(true)
	for _, half := range []string{newSecret[:32], newSecret[:40], "", newSecret} {
		write(half)
		f.look(false)
		if !v.Knows(c.Key) {
			t.Fatalf("%q counts after one reading", half)
		}
	}
	f.look(false)
	if v.Knows(c.Key) {
		t.Error("the new secret does not count after two readings")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	for range 5 {
		f.look(false)
	}
	if got := strings.Count(log.String(), "the former keys stay"); got != 1 {
		t.Errorf("a missing file is logged %d times: %s", got, log.String())
	}
}

// A file that is emptied, by a disk that is full or a redirection that fails, must not
// end every connection and refuse every login.
func TestAnEmptiedPublicKeyFileEndsNothing(t *testing.T) {
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
	f := &keyFiles{k: config.Keys{PublicPEM: key, PublicFile: name}, verifier: v, log: slog.New(slog.NewTextHandler(&log, nil))}
	f.look(true)
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	f.look(false)
	f.look(false)
	f.look(true) // SIGHUP
	if strings.Contains(log.String(), "were replaced") || !strings.Contains(log.String(), "the former keys stay") {
		t.Errorf("an empty file replaced the keys: %s", log.String())
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
