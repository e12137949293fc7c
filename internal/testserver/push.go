package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// NewVAPIDKey returns the name of a file with a new key for --vapid-key-file.
func NewVAPIDKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "vapid.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// NewPushService starts a push service over TLS, whose requests h handles. It returns the
// service's URL and the environment for a program that trusts it and pushes to it.
func NewPushService(t testing.TB, h http.HandlerFunc) (url string, env map[string]string) {
	t.Helper()
	files := Certificate(t)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would report connections of killed programs
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, map[string]string{"SSL_CERT_FILE": files.Cert, "FALCON_VAPID_KEY_FILE": NewVAPIDKey(t), "FALCON_VAPID_CONTACT": "mailto:ops@example.com",
		"FALCON_PUSH_HOSTS": s.Listener.Addr().String()}
}
