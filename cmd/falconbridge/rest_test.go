package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
	"github.com/falconalert/falconbridge/internal/testserver"
)

// production returns an environment with a key.
var production = map[string]string{"FALCON_JWT_SECRET": testSecret}

// with returns production with further variables.
func with(pairs ...string) map[string]string {
	env := map[string]string{"FALCON_JWT_SECRET": testSecret}
	for i := 0; i+1 < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return env
}

// databases are the databases with which every end-to-end guarantee is tested.
var databases = map[string]func(t *testing.T) map[string]string{
	"sqlite":   func(*testing.T) map[string]string { return with() },
	"postgres": func(t *testing.T) map[string]string { return with("DATABASE_URL", testserver.Postgres(t)) },
}

// sign returns a token signed with the test secret.
func sign(t *testing.T, user string, scope bridge.Scope) string {
	t.Helper()
	s, err := token.NewSigner(token.SignerOptions{Secret: []byte(testSecret)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(bridge.Claims{User: bridge.UserID(user), Scope: scope, ExpiresAt: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// caller calls REST as one user.
type caller struct {
	base, token string
	forwarded   string // X-Forwarded-For, "": none
	client      *http.Client
}

// do makes a call and requires that status. It decodes the body into out unless that is nil.
func (c caller) do(t *testing.T, method, path string, in any, status int, out any) http.Header {
	t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.forwarded != "" {
		req.Header.Set("X-Forwarded-For", c.forwarded)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := c.client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("%s %s: %d %s; want %d", method, path, resp.StatusCode, answer, status)
	}
	if out != nil {
		if raw, ok := out.(*string); ok {
			*raw = string(answer)
		} else if err := json.Unmarshal(answer, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
	return resp.Header
}

// item has the fields of a notification that tests read.
type item struct {
	ID      int64  `json:"id"`
	Seq     int64  `json:"seq"`
	Title   string `json:"title"`
	Message string `json:"message"`
}

// raws returns a user's notifications, newest first, byte for byte.
func (c caller) raws(t *testing.T) []string {
	t.Helper()
	var raw []json.RawMessage
	c.do(t, "GET", "/notifications?limit=200", nil, 200, &raw)
	out := make([]string, len(raw))
	for i, r := range raw {
		out[i] = string(r)
	}
	return out
}

// notify posts one notification with an operator's token and returns its seq.
func notify(t *testing.T, base, user, title string) int64 {
	t.Helper()
	var answer item
	c := caller{base: base, token: sign(t, "app", bridge.ScopeWrite)}
	c.do(t, "POST", "/notifications", map[string]any{"created_by": user, "title": title, "message": "M"}, 201, &answer)
	return answer.Seq
}

// lines returns the lines of s, none if it is empty.
func lines(s string) []string {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// adminToken returns a token with the scope admin.
func adminToken(t *testing.T) string { return sign(t, "root", bridge.ScopeAdmin) }
