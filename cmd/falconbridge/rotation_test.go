package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// rotatedKey is one key: its part of the file, and a signer that uses it.
type rotatedKey struct {
	text   string
	signer token.SignerOptions
}

func newRotatedSecret(t *testing.T) rotatedKey {
	t.Helper()
	secret := rand.Text() + rand.Text()
	return rotatedKey{secret + "\n", token.SignerOptions{Secret: []byte(secret)}}
}

func newRotatedPair(t *testing.T) rotatedKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return rotatedKey{
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})),
		token.SignerOptions{PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})},
	}
}

func (k rotatedKey) sign(t *testing.T) string {
	t.Helper()
	s, err := token.NewSigner(k.signer)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(bridge.Claims{User: "1", Scope: bridge.ScopeWrite, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// An application that always signs with the newest key, and whose callers never pause, is
// never refused while keys rotate: the new one is added, then used, and only then the
// old one is removed. SIGHUP announces the changes of one round, the others are detected.
func TestRotatingKeysUnderLoadRefusesNoClient(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		setting string
		newKey  func(*testing.T) rotatedKey
	}{
		"secrets":     {"FALCON_JWT_SECRET_FILE", newRotatedSecret},
		"public keys": {"FALCON_JWT_PUBLIC_KEY_FILE", newRotatedPair},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := tt.newKey(t)
			keys := file(t, key.text)
			p := testserver.NewProgram(t, map[string]string{tt.setting: keys, "FALCON_REQUEST_RATE_PER_USER": "off", "FALCON_REQUEST_RATE_PER_IP": "off"})
			write := func(content string, announce bool) {
				t.Helper()
				if err := os.WriteFile(keys, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if announce {
					if err := p.Signal(syscall.SIGHUP); err != nil {
						t.Fatal(err)
					}
				}
			}
			load := startCallers(t, p.HTTP, key.sign(t))
			for round := range 2 {
				announce := round == 0
				next := tt.newKey(t)
				raw, newRaw := key.sign(t), next.sign(t)
				old := connected(t, p, raw)
				write(next.text+key.text, announce)
				testserver.Eventually(t, 30*time.Second, func() error {
					return answers(caller{base: p.HTTP, token: newRaw}, "/notifications", http.StatusOK)
				})
				kept := connected(t, p, newRaw)
				load.use(t, newRaw)
				write(next.text, announce)
				testserver.Eventually(t, 30*time.Second, func() error {
					return answers(caller{base: p.HTTP, token: raw}, "/notifications", http.StatusUnauthorized)
				})
				old.says(t, "the token has expired or was revoked")
				caller{base: p.HTTP, token: newRaw}.do(t, "POST", "/notifications", map[string]any{"title": "T", "message": "M", "created_by": 1}, http.StatusCreated, nil)
				kept.json(t, 1)
				key = next
			}
			load.stop(t)
		})
	}
}

// callers make REST calls without pausing.
type callers struct {
	token  atomic.Pointer[string]
	calls  [4]atomic.Int64
	end    context.CancelFunc
	done   sync.WaitGroup
	failed chan error
}

func startCallers(t *testing.T, base, raw string) *callers {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	l := &callers{end: end, failed: make(chan error, 4)}
	l.token.Store(&raw)
	for i := range l.calls {
		l.done.Go(func() {
			for ctx.Err() == nil {
				if err := answers(caller{base: base, token: *l.token.Load()}, "/notifications", http.StatusOK); err != nil {
					l.failed <- err
					return
				}
				l.calls[i].Add(1)
			}
		})
	}
	t.Cleanup(func() { end(); l.done.Wait() })
	return l
}

// use makes every caller use raw, and returns when no call with another token is in progress.
func (l *callers) use(t *testing.T, raw string) {
	t.Helper()
	l.token.Store(&raw)
	for i := range l.calls {
		then := l.calls[i].Load()
		testserver.Eventually(t, 30*time.Second, func() error {
			select {
			case err := <-l.failed:
				t.Fatalf("a caller was refused: %v", err)
			default:
			}
			if l.calls[i].Load() < then+2 { // the first may have begun before
				return context.DeadlineExceeded
			}
			return nil
		})
	}
}

func (l *callers) stop(t *testing.T) {
	t.Helper()
	l.end()
	l.done.Wait()
	select {
	case err := <-l.failed:
		t.Errorf("a caller was refused: %v", err)
	default:
	}
}
