package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// With Redis as the bus, a user's rate applies to all nodes together; while Redis is
// unavailable, to each node.
func TestNodesShareTheRateOfAUserThroughRedis(t *testing.T) {
	t.Parallel()
	redis := testserver.NewRedis(t)
	env := with("DATABASE_URL", testserver.Postgres(t), "FALCON_BUS", redis.URL)
	a := testserver.NewProgram(t, env, "--request-rate-per-user=1/h", "--request-rate-per-ip=off")
	b := testserver.NewProgram(t, env, "--request-rate-per-user=1/h", "--request-rate-per-ip=off")
	get := func(p *testserver.Program, user string, status int) {
		t.Helper()
		caller{base: p.HTTP, token: sign(t, user, 0)}.do(t, "GET", "/notifications/count", nil, status, nil)
	}
	// On a busy machine Redis may take longer than a node waits for it: then both nodes
	// allow the call and count a failure, and the next user is tried.
	shared := false
	for user := 1; user <= 20 && !shared; user++ {
		before := failures(t, a) + failures(t, b)
		get(a, fmt.Sprint(user), 200)
		if before != failures(t, a) {
			continue
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.HTTP+"/notifications/count", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+sign(t, fmt.Sprint(user), 0))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if shared = res.StatusCode == http.StatusTooManyRequests; !shared && before == failures(t, a)+failures(t, b) {
			t.Fatal("the other node lets the user ask again")
		}
	}
	if !shared {
		t.Fatal("Redis never responded in time")
	}
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	get(a, "away", 200)
	get(b, "away", 200)
	get(b, "away", 429)
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
}

// failures returns how many of p's calls Redis did not respond to.
func failures(t *testing.T, p *testserver.Program) (n int) {
	t.Helper()
	var text string
	caller{base: p.Admin}.do(t, "GET", "/metrics", nil, 200, &text)
	_, rest, _ := strings.Cut(text, "\nfalconbridge_shared_rate_failures_total ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
