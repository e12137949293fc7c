package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/bus/bustest"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// certificate writes a self-signed certificate for loopback and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", der)
}

func TestOverTLS(t *testing.T) {
	cert, key := certificate(t)
	port := testserver.FreePort(t)
	testserver.NewRedis(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no")
	url := fmt.Sprintf("rediss://127.0.0.1:%d/0", port)
	a := bustest.Listen(t, join(t, redis.Options{URL: url + "?skip_verify=true", Node: "a"}), "7")
	b := bustest.Listen(t, join(t, redis.Options{URL: url + "?skip_verify=true", Node: "b"}), "7")
	b.Receives(t, a, bridge.Hint{Type: bridge.HintMuted, User: "7"})

	// A self-signed certificate is not trusted unless the URL says so.
	c := join(t, redis.Options{URL: url, Node: "c"})
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context(), ignore{}) }()
	testserver.Eventually(t, 10*time.Second, func() error {
		if err := c.Ready(); err == nil || err.Error() == "the bus has not connected yet" {
			return fmt.Errorf("ready: %v", err)
		}
		return nil
	})
	t.Cleanup(func() { <-done })
}

// ignore is a handler that ignores all hints.
type ignore struct{}

func (ignore) Hint(bridge.Hint) {}
func (ignore) Reconnected()     {}
