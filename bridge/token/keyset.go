package token

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	keySetRefresh = 5 * time.Minute
	keySetRetry   = 30 * time.Second // after a failed refresh

	// A token with an unknown kid makes the set be asked anew, at most this often
	// for all of them together, so that forged kids cannot be turned into load on
	// the issuer (RFC 8725 §3.10). The verification waits no longer than that.
	unknownKidEvery = 10 * time.Second
	unknownKidWait  = 1500 * time.Millisecond
)

// setKey is one key of a set. alg and kid are "" where the set names none.
type setKey struct {
	publicKey
	kid, alg string
}

// keySet is a JSON Web Key Set (RFC 7517) behind a URL: cached, refreshed, and
// asked early for a kid it does not know. While a refresh fails, or answers
// without a usable key, the former keys stay.
//
// One goroutine asks. A caller with an unknown kid only wakes it: who hangs up
// early, with a forged kid, does not cancel the refresh that others wait for.
type keySet struct {
	url    string
	client *http.Client
	every  time.Duration
	tell   func(error)

	keys    atomic.Pointer[[]setKey]
	unknown *rate.Limiter
	ask     chan struct{}

	mu     sync.Mutex
	asking chan struct{} // closed at the end of the refresh that was asked for; nil: none
	failed error         // of the last refresh
}

// newKeySet asks once and keeps asking until ctx ends. It fails where the first
// answer cannot be used.
func newKeySet(ctx context.Context, o Options) (*keySet, error) {
	u, err := url.Parse(o.JWKSURL)
	if err != nil {
		return nil, fmt.Errorf("the key set: %w", CheckJWKSURL(o.JWKSURL))
	}
	if err := checkKeySetURL(u); err != nil {
		return nil, fmt.Errorf("key set %s: %w", u.Redacted(), err)
	}
	s := &keySet{
		url:     o.JWKSURL,
		client:  keySetClient(o.HTTPClient),
		every:   o.Refresh,
		tell:    o.OnRefresh,
		unknown: rate.NewLimiter(rate.Every(unknownKidEvery), 1),
		ask:     make(chan struct{}, 1),
	}
	if s.every <= 0 {
		s.every = keySetRefresh
	}
	if s.tell == nil {
		s.tell = func(error) {}
	}
	if err := s.refresh(ctx); err != nil {
		return nil, fmt.Errorf("fetch the key set %s: %w", u.Redacted(), err)
	}
	go s.run(ctx)
	return s, nil
}

// run refreshes until ctx ends.
func (s *keySet) run(ctx context.Context) {
	timer := time.NewTimer(s.every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.ask:
		}
		next := s.every
		if err := s.refresh(ctx); err != nil {
			next = min(s.every, keySetRetry)
		}
		timer.Reset(next)
	}
}

// refresh asks once, tells how it went and wakes who waits for it.
func (s *keySet) refresh(ctx context.Context) error {
	keys, err := fetchKeys(ctx, s.client, s.url)
	if err == nil {
		s.keys.Store(&keys)
	}
	s.mu.Lock()
	s.failed = err
	if s.asking != nil {
		close(s.asking)
		s.asking = nil
	}
	s.mu.Unlock()
	if ctx.Err() == nil {
		s.tell(err)
	}
	return err
}

// fitting are the keys of the set that alg may be verified with: those named by
// kid, or all where the token names none. ErrUnavailable tells that the kid is
// unknown and the set could not be asked about it now.
func (s *keySet) fitting(ctx context.Context, h header) ([]any, error) {
	keys, known := s.named(h)
	if known {
		return keys, nil
	}
	err := s.askAgain(ctx)
	keys, known = s.named(h)
	if known {
		return keys, nil
	}
	return nil, err
}

func (s *keySet) named(h header) (keys []any, known bool) {
	for _, k := range *s.keys.Load() {
		if h.Kid != nil && k.kid != *h.Kid {
			continue
		}
		known = true
		if slices.Contains(k.algorithms, h.Alg) && (k.alg == "" || k.alg == h.Alg) {
			keys = append(keys, k.key)
		}
	}
	return keys, known || h.Kid == nil
}

// askAgain waits for a refresh, its own or the one under way. It fails with
// ErrUnavailable where there was one just before, or where it failed.
func (s *keySet) askAgain(ctx context.Context) error {
	s.mu.Lock()
	if s.asking == nil {
		if !s.unknown.Allow() {
			s.mu.Unlock()
			return ErrUnavailable
		}
		s.asking = make(chan struct{})
		select {
		case s.ask <- struct{}{}:
		default: // asked already
		}
	}
	done := s.asking
	s.mu.Unlock()

	limit := time.NewTimer(unknownKidWait)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		return ErrUnavailable
	case <-ctx.Done():
		return ErrUnavailable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return ErrUnavailable
	}
	return nil
}
