package crashtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// ledger records the responses to posts.
type ledger struct {
	mu           sync.Mutex
	seqs         map[bridge.UserID][]bridge.Seq // the seqs in responses 201, by user
	unexpected   map[int]int                    // how many responses were neither 201 nor a reason to try again, by status
	failures     int                            // how many attempts got no 201
	firstFailure string                         // why the first of these got none
}

func newLedger() *ledger {
	return &ledger{seqs: make(map[bridge.UserID][]bridge.Seq), unexpected: make(map[int]int)}
}

// posters starts k goroutines that post to random nodes until stop is called. A post without a
// response is repeated with the same Idempotency-Key, possibly at another node, until it gets
// one, so that every post results in exactly one notification.
func (f *fleet) posters(k int, users []bridge.UserID) (l *ledger, stop func()) {
	l = newLedger()
	ctx, cancel := context.WithCancel(context.Background())
	app := sign(f.t, "app", bridge.ScopeWrite)
	var wg sync.WaitGroup
	for range k {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := 1
				if mathrand.IntN(8) == 0 {
					n = 1 + mathrand.IntN(20)
				}
				f.post(l, app, pickUsers(users, n))
				<-time.After(time.Duration(mathrand.IntN(24)) * time.Millisecond) // slow enough that no device misses more than the replay cap of 1,000
			}
		})
	}
	return l, func() { cancel(); wg.Wait() }
}

func pickUsers(users []bridge.UserID, n int) []bridge.UserID {
	to := make([]bridge.UserID, n)
	for i := range to {
		to[i] = users[mathrand.IntN(len(users))]
	}
	return to
}

type body struct {
	Title   string        `json:"title"`
	Message string        `json:"message"`
	To      bridge.UserID `json:"created_by"`
}

// post sends one notification or, to several users, one batch, until the response is 201.
func (f *fleet) post(l *ledger, app string, to []bridge.UserID) {
	path, request := "/notifications", any(body{"title", "message", to[0]})
	if len(to) > 1 {
		list := make([]body, len(to))
		for i, u := range to {
			list[i] = body{"title", "message", u}
		}
		path, request = "/notifications/batch", map[string]any{"notifications": list}
	}
	b, err := json.Marshal(request)
	if err != nil {
		f.t.Error(err)
		return
	}
	key := rand.Text()
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); {
		status, response, err := f.send(path, app, key, b)
		if err == nil && status == http.StatusCreated {
			l.record(f.t, to, response)
			return
		}
		l.miss(status, err)
		<-time.After(20 * time.Millisecond)
	}
	f.t.Errorf("a post got no 201 within %v", waitLimit)
}

// send sends one request to a random node and returns the status and the body of the response.
func (f *fleet) send(path, app, key string, b []byte) (int, []byte, error) {
	x, err := f.pick()
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+x.http+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+app)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	response, err := io.ReadAll(resp.Body)
	return resp.StatusCode, response, err
}

// count returns how many notifications were created with a response 201.
func (l *ledger) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seqs := range l.seqs {
		n += len(seqs)
	}
	return n
}

// miss records an attempt that got no 201.
func (l *ledger) miss(status int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures++; l.failures == 1 {
		l.firstFailure = fmt.Sprintf("status %d, error %v", status, err)
	}
	if err == nil && status != http.StatusServiceUnavailable && status != http.StatusConflict {
		l.unexpected[status]++
	}
}

// record records a response 201 to a post for the users to.
func (l *ledger) record(t *testing.T, to []bridge.UserID, response []byte) {
	var one struct{ Seq bridge.Seq }
	var many struct {
		Notifications []struct {
			Seq bridge.Seq
			To  bridge.UserID `json:"created_by"`
		}
	}
	var err error
	if len(to) == 1 {
		err = json.Unmarshal(response, &one)
	} else {
		err = json.Unmarshal(response, &many)
	}
	if err != nil || len(to) > 1 && len(many.Notifications) != len(to) {
		t.Errorf("invalid response: %v", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(to) == 1 {
		l.seqs[to[0]] = append(l.seqs[to[0]], one.Seq)
		return
	}
	for i, n := range many.Notifications {
		if n.To != to[i] {
			t.Errorf("entry %d of a batch is for %s, not %s", i, n.To, to[i])
		}
		l.seqs[n.To] = append(l.seqs[n.To], n.Seq)
	}
}

// check fails the test unless the responses contain every seq of a user exactly once.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for status, n := range l.unexpected {
		t.Errorf("%d posts got status %d", n, status)
	}
	for u, seqs := range l.seqs {
		slices.Sort(seqs)
		for i, s := range seqs {
			if s != bridge.Seq(i+1) {
				t.Errorf("user %s: seq %d of the responses is %d", u, i+1, s)
				break
			}
		}
	}
}

// checkNoFailures fails the test if any post needed more than one attempt.
func (l *ledger) checkNoFailures(t *testing.T) {
	t.Helper()
	if l.failures > 0 {
		t.Errorf("%d posts failed at first: %s", l.failures, l.firstFailure)
	}
}

// history returns the seqs of u's history, read over REST.
func (f *fleet) history(u bridge.UserID) ([]bridge.Seq, error) {
	reader := sign(f.t, "reader", bridge.ScopeRead)
	var all []bridge.Seq
	for {
		after := bridge.Seq(0)
		if len(all) > 0 {
			after = all[len(all)-1]
		}
		x, err := f.pick()
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/users/%s/notifications?limit=200&after=%d", x.http, u, after), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+reader)
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		var page []struct{ Seq bridge.Seq }
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("history of %s: %s, %w", u, resp.Status, err)
		}
		if len(page) == 0 {
			return all, nil
		}
		for _, n := range page {
			all = append(all, n.Seq)
		}
	}
}
