package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/testserver"
)

const newSecret = "a new secret of more than 32 bytes, for rotations"

// connected starts a subscribed device that prints its log.
func connected(t *testing.T, p *testserver.Program, raw string) *process {
	t.Helper()
	cmd := p.Command("tail", "--token", raw)
	device := begin(t, cmd)
	device.says(t, "subscribed")
	return device
}

// answers returns an error unless a GET has that status.
func answers(c caller, path string, status int) error {
	req, err := http.NewRequest(http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != status {
		return fmt.Errorf("GET %s: %d, %w; want %d", path, resp.StatusCode, err, status)
	}
	return nil
}

func TestRemovingASecretEndsItsConnections(t *testing.T) {
	t.Parallel()
	name := file(t, testSecret+"\n")
	p := testserver.NewProgram(t, map[string]string{"FALCON_JWT_SECRET_FILE": name})
	old := sign(t, "1", 0)
	device := connected(t, p, old)
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	user := caller{base: p.HTTP, token: old}
	admin := func() caller {
		out, errs, code := finish(t, p.Command("token", "--user=9", "--scope=admin"))
		if code != 0 {
			t.Fatalf("token: exit %d, %s", code, errs)
		}
		return caller{base: p.HTTP, token: strings.TrimSpace(out)}
	}

	// First the new secret signs and both verify, then the old one is removed.
	write(newSecret + "\n" + testSecret + "\n")
	testserver.Eventually(t, 20*time.Second, func() error { return answers(admin(), "/admin/stats", http.StatusOK) })
	user.do(t, "GET", "/notifications", nil, http.StatusOK, nil)
	write(newSecret)
	device.says(t, "the token has expired or was revoked")
	testserver.Eventually(t, 20*time.Second, func() error { return answers(user, "/notifications", http.StatusUnauthorized) })

	// An unusable file changes nothing.
	write("short")
	testserver.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(p.Log(), "the former keys stay") {
			return errors.New("no complaint")
		}
		return nil
	})
	text, err := fetch(p.Admin + "/metrics")
	if err != nil || strings.Contains(text, `falconbridge_key_file_failures_total{setting="jwt-secret-file"} 0`) {
		t.Errorf("the broken file is not counted, or %v", err)
	}
	write(newSecret)
	admin().do(t, "GET", "/admin/stats", nil, http.StatusOK, nil)
	if strings.Contains(p.Log(), newSecret) || strings.Contains(p.Log(), testSecret) {
		t.Error("the log contains a secret")
	}
}

func TestRemovingAKeyFromTheSetEndsItsConnections(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := func(kid string, key ed25519.PublicKey) map[string]any {
		k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"keys": []any{k.Marshal()}}
	}
	var keys atomic.Value
	var down atomic.Bool
	keys.Store(set("a", public))
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(keys.Load())
	}))
	defer issuer.Close()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := token.NewSigner(token.SignerOptions{PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), KeyID: "a", Audience: "falcon"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signer.Sign(bridge.Claims{User: "1", ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	p := testserver.NewProgram(t, map[string]string{"FALCON_JWT_JWKS_URL": issuer.URL, "FALCON_JWT_AUDIENCE": "falcon"})
	device := connected(t, p, raw)
	refresh := func(line string) {
		t.Helper()
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testserver.Eventually(t, 20*time.Second, func() error {
			if strings.Count(p.Log(), line) != 1 {
				return errors.New("the log does not say once: " + line)
			}
			return nil
		})
	}

	// An issuer that fails takes no key away, and the log says why it fails.
	down.Store(true)
	refresh(`msg="the key set cannot be fetched, the known keys stay" component=keys setting=jwt-jwks-url error="the server returned 500"`)
	caller{base: p.HTTP, token: raw}.do(t, "GET", "/notifications", nil, http.StatusOK, nil)
	down.Store(false)
	refresh("the key set was fetched again")

	keys.Store(set("b", other))
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	device.says(t, "the token has expired or was revoked")
	caller{base: p.HTTP, token: raw}.do(t, "GET", "/notifications", nil, http.StatusUnauthorized, nil)
}
