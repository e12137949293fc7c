package main

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// The command line has to sign tokens that the server accepts.
func TestTheCommandLineSignsWithTheConfiguredClaims(t *testing.T) {
	t.Parallel()
	p := testserver.NewProgram(t, with("FALCON_JWT_USER_CLAIM", "user.id", "FALCON_JWT_SCOPE_CLAIM", "realm_access.roles",
		"FALCON_JWT_AUDIENCE", "falcon", "FALCON_JWT_AUDIENCE_CLAIM", "client_id", "FALCON_MAX_TOKEN_LIFE", "10m"))
	if _, errs, code := finish(t, p.Command("send", "--user=a@b.c", "--title=T", "--message=M")); code != 0 {
		t.Errorf("send: exit %d, %s", code, errs)
	}
	out, errs, code := finish(t, p.Command("tail", "--user=a@b.c", "--count=1", "--since=0"))
	if code != 0 || !strings.Contains(out, `"title":"T"`) {
		t.Errorf("tail: exit %d, %s%s", code, out, errs)
	}
	out, errs, code = finish(t, p.Command("token", "--user=9", "--scope=admin", "--ttl=5m"))
	if code != 0 {
		t.Fatalf("token: exit %d, %s", code, errs)
	}
	caller{base: p.HTTP, token: strings.TrimSpace(out)}.do(t, http.MethodGet, "/admin/stats", nil, http.StatusOK, nil)
	if _, errs, code = finish(t, p.Command("token", "--user=9", "--ttl=1h")); code == 0 || !strings.Contains(errs, "--max-token-life") {
		t.Errorf("a token for an hour: exit %d, %s", code, errs)
	}
	// A token with the usual claims has no user here.
	caller{base: p.HTTP, token: sign(t, "a@b.c", 0)}.do(t, http.MethodGet, "/notifications", nil, http.StatusUnauthorized, nil)
}

func TestTheAudienceAnyIsNeverPutIntoAToken(t *testing.T) {
	_, out, _ := invoke(t, with("FALCON_DATA_DIR", t.TempDir(), "FALCON_JWT_AUDIENCE", "any"), "token", "--user=1")
	_, rest, _ := strings.Cut(out, ".")
	part, _, _ := strings.Cut(rest, ".")
	body, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || !bytes.Contains(body, []byte(`"sub":"1"`)) || bytes.Contains(body, []byte(`"aud"`)) {
		t.Errorf("claims %s, %v", body, err)
	}
}

// A pipe can be read once: `--jwt-secret-file <(vault read …)`.
func TestASecretFromAPipeIsReadOnce(t *testing.T) {
	t.Parallel()
	name := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(name, []byte(testSecret+"\n"), 0) }()
	p := testserver.NewProgram(t, map[string]string{"FALCON_JWT_SECRET_FILE": name})
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	user := caller{base: p.HTTP, token: sign(t, "1", 0)}
	user.do(t, http.MethodGet, "/notifications", nil, http.StatusOK, nil)
	if strings.Contains(p.Log(), "cannot be used") {
		t.Error("the pipe is read again")
	}
}
