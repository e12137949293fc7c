package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/internal/testserver"
)

// Anyone may call /readyz, however often: the database is checked at most a few times per
// second.
func TestAFloodOfReadinessProbesIsOneDatabaseCheck(t *testing.T) {
	var asked atomic.Int64
	var away atomic.Bool
	e := newHarness(t, sqlite(t), func(o *Options) {
		o.Ready = func(context.Context) error {
			asked.Add(1)
			if away.Load() {
				return errors.New("the database is unavailable")
			}
			return nil
		}
	})
	begun := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				e.call("GET /readyz", "", "").want(http.StatusOK)
			}
		})
	}
	wg.Wait()
	if most := 1 + int64(time.Since(begun)/readyFor); asked.Load() > most {
		t.Errorf("400 probes asked %d times, want at most %d", asked.Load(), most)
	}
	away.Store(true)
	testserver.Eventually(t, 5*time.Second, func() error {
		if a := e.call("GET /readyz", "", ""); a.Code != http.StatusServiceUnavailable {
			return errors.New("it stays ready")
		}
		return nil
	})
}

func TestAReadinessCheckOutlivesItsFirstCaller(t *testing.T) {
	answer, asked := make(chan error), make(chan struct{}, 10)
	r := readiness{wait: time.Minute, ask: func(context.Context) error {
		asked <- struct{}{}
		return <-answer
	}}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.now(gone); !errors.Is(err, context.Canceled) {
		t.Fatalf("the caller who disconnected got %v", err)
	}
	got := make(chan error, 2)
	for range cap(got) {
		go func() { got <- r.now(t.Context()) }()
	}
	<-asked
	bad := errors.New("away")
	answer <- bad
	for range cap(got) {
		if err := <-got; !errors.Is(err, bad) {
			t.Errorf("a later caller got %v", err)
		}
	}
	if len(asked) != 0 {
		t.Error("it was asked again within its time")
	}
}

// Routes without a token count towards the address's limit, too. Probes have their own.
func TestOpenRoutesHaveTheAddressLimit(t *testing.T) {
	e := newHarness(t, sqlite(t), func(o *Options) {
		o.RequestRatePerAddress = 3
		o.Pages = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	})
	for _, at := range []string{"GET /openapi.json", "GET /problems/invalid", "GET /"} {
		e.call(at, "", "").want(http.StatusOK)
	}
	for _, at := range []string{"GET /openapi.json", "GET /docs", "GET /problems/invalid", "GET /", "GET /nothing/here", "POST /healthz"} {
		if e.call(at, "", "").problem(http.StatusTooManyRequests); e.call(at, "", "").Header().Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", at)
		}
	}
	e.call("GET /healthz", "", "").want(http.StatusOK) // others' floods do not make the node look dead
	e.call("GET /readyz", "", "").want(http.StatusOK)
	e.call("GET /healthz", "", "").want(http.StatusOK)
	e.call("GET /readyz", "", "").problem(http.StatusTooManyRequests)
}
