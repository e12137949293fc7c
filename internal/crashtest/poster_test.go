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

// ledger is what was answered with 201: by user, the seqs.
type ledger struct {
	mu    sync.Mutex
	seqs  map[bridge.UserID][]bridge.Seq
	other map[int]int // answers that were neither 201 nor a reason to try again
	tries int         // attempts that got no 201
	why   string      // of the first such attempt
}

func newLedger() *ledger {
	return &ledger{seqs: make(map[bridge.UserID][]bridge.Seq), other: make(map[int]int)}
}

// posters post through random nodes until stop is called. A post without an
// answer is repeated with its Idempotency-Key, at another node if need be, until
// it has one: so every post ends in exactly one notification.
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
				<-time.After(time.Duration(mathrand.IntN(24)) * time.Millisecond) // no device misses more than the 1,000 that are replayed
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

// post sends one notification or, for several users, one batch, until it is
// answered.
func (f *fleet) post(l *ledger, app string, to []bridge.UserID) {
	path, what := "/notifications", any(body{"title", "message", to[0]})
	if len(to) > 1 {
		list := make([]body, len(to))
		for i, u := range to {
			list[i] = body{"title", "message", u}
		}
		path, what = "/notifications/batch", map[string]any{"notifications": list}
	}
	b, err := json.Marshal(what)
	if err != nil {
		f.t.Error(err)
		return
	}
	key := rand.Text()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		status, answer, err := f.send(path, app, key, b)
		if err == nil && status == http.StatusCreated {
			l.note(f.t, to, answer)
			return
		}
		l.miss(status, err)
		<-time.After(20 * time.Millisecond)
	}
	f.t.Errorf("a post was not answered within %v", patience)
}

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
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// count is how many notifications were answered with 201.
func (l *ledger) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seqs := range l.seqs {
		n += len(seqs)
	}
	return n
}

func (l *ledger) miss(status int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tries++; l.tries == 1 {
		l.why = fmt.Sprintf("status %d, error %v", status, err)
	}
	if err == nil && status != http.StatusServiceUnavailable && status != http.StatusConflict {
		l.other[status]++
	}
}

func (l *ledger) note(t *testing.T, to []bridge.UserID, answer []byte) {
	var one struct{ Seq bridge.Seq }
	var many struct {
		Notifications []struct {
			Seq bridge.Seq
			To  bridge.UserID `json:"created_by"`
		}
	}
	var err error
	if len(to) == 1 {
		err = json.Unmarshal(answer, &one)
	} else {
		err = json.Unmarshal(answer, &many)
	}
	if err != nil || len(to) > 1 && len(many.Notifications) != len(to) {
		t.Errorf("an answer that cannot be read: %v", err)
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

// check holds the answers themselves: no seq twice, none left out.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for status, n := range l.other {
		t.Errorf("%d posts were answered with %d", n, status)
	}
	for u, seqs := range l.seqs {
		slices.Sort(seqs)
		for i, s := range seqs {
			if s != bridge.Seq(i+1) {
				t.Errorf("user %s: the %dth seq answered with 201 is %d", u, i+1, s)
				break
			}
		}
	}
}

// failedNone fails where a post needed more than one attempt.
func (l *ledger) failedNone(t *testing.T) {
	t.Helper()
	if l.tries > 0 {
		t.Errorf("%d posts failed at first: %s", l.tries, l.why)
	}
}

// history reads all of u's seqs over REST.
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
