package token

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/falconalert/falconbridge/bridge"
)

const (
	keySetRefresh = 5 * time.Minute
	keySetRetry   = 30 * time.Second // after a failed refresh

	// unknownKidEvery is the shortest time between two early refreshes, which tokens with an
	// unknown kid cause. It applies to all tokens together, so that forged kids cannot be used
	// to put load on the issuer (RFC 8725 §3.10).
	unknownKidEvery = 10 * time.Second

	// unknownKidWait is how long a verification waits for an early refresh.
	unknownKidWait = 1500 * time.Millisecond

	// maxTried is how many keys are tried at most for one token. Even a forged token may have to
	// be tried with each key that may be used with its algorithm, and a set of 1 MiB has room
	// for thousands.
	maxTried = 16
)

// keySet is a cached JSON Web Key Set (RFC 7517) from a URL. It is refreshed regularly, and early for
// a kid that it does not have. If a refresh fails, or finds no usable key, the former keys remain in
// use.
//
// Only the goroutine of run fetches after the start. A caller with an unknown kid wakes it, so a
// client that disconnects early cannot cancel a refresh for which other callers wait.
type keySet struct {
	url    string
	client *http.Client
	every  time.Duration
	report func(error)

	ring      atomic.Pointer[keyring]
	unknown   *rate.Limiter // for early refreshes
	requested chan struct{} // wakes run

	mu      sync.Mutex
	pending chan struct{} // closed at the end of a requested refresh; nil if none is pending
	lastErr error         // the error of the last refresh
	absent  absentKids
}

// newKeySet fetches the set, and refreshes it until ctx ends. It fails if the first fetch fails.
func newKeySet(ctx context.Context, o Options) (*keySet, error) {
	u, err := url.Parse(o.JWKSURL)
	if err != nil {
		return nil, fmt.Errorf("the key set: %w", CheckJWKSURL(o.JWKSURL))
	}
	if err := checkKeySetURL(u); err != nil {
		return nil, fmt.Errorf("key set %s: %w", u.Redacted(), err)
	}
	s := &keySet{
		url:       o.JWKSURL,
		client:    keySetClient(o.HTTPClient),
		every:     o.Refresh,
		report:    o.OnRefresh,
		unknown:   rate.NewLimiter(rate.Every(unknownKidEvery), 1),
		requested: make(chan struct{}, 1),
	}
	if s.every <= 0 {
		s.every = keySetRefresh
	}
	if s.report == nil {
		s.report = func(error) {}
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
		case <-s.requested:
		}
		next := s.every
		if err := s.refresh(ctx); err != nil {
			next = min(s.every, keySetRetry)
		}
		timer.Reset(next)
	}
}

// wake makes run refresh the set now.
func (s *keySet) wake() {
	select {
	case s.requested <- struct{}{}:
	default:
	}
}

// refresh fetches the set, reports the result and wakes the callers that wait for it.
func (s *keySet) refresh(ctx context.Context) error {
	keys, err := fetchKeys(ctx, s.client, s.url)
	if err == nil {
		s.ring.Store(newKeyring(keys))
	}
	s.mu.Lock()
	s.lastErr = err
	if s.pending != nil {
		close(s.pending)
		s.pending = nil
	}
	s.mu.Unlock()
	if ctx.Err() == nil {
		s.report(err)
	}
	return err
}

func (s *keySet) knows(id bridge.KeyID) bool { return s.ring.Load().knows(id) }

// fitting returns the keys of the set that have the given kid and may be used with alg. A kid of ""
// stands for all kids. If there are more than maxTried such keys it returns none. It fails with
// ErrUnavailable if the set does not have the kid and could not be refreshed.
func (s *keySet) fitting(ctx context.Context, kid, alg string) ([]key, error) {
	keys := s.withKid(kid)
	if len(keys) == 0 && kid != "" {
		if err := s.lookUp(ctx, kid); err != nil {
			return nil, err
		}
		keys = s.withKid(kid)
	}
	keys = fitting(keys, alg)
	if len(keys) > maxTried {
		return nil, nil
	}
	return keys, nil
}

// withKid returns the keys with the given kid, or all if kid is "".
func (s *keySet) withKid(kid string) []key {
	all := s.ring.Load().keys
	if kid == "" {
		return all
	}
	var keys []key
	for _, k := range all {
		if k.kid == kid {
			keys = append(keys, k)
		}
	}
	return keys
}

// lookUp refreshes the set early because of a kid that it does not have, and waits for the refresh.
//
// It does not refresh if the kid was absent after a recent refresh, or within unknownKidEvery of the
// last early refresh. In the latter case the set is recent enough for the kid to count as unknown.
//
// lookUp returns ErrUnavailable if the last refresh failed, and otherwise nil. Clients depend on the
// difference. They replace a token whose key is unknown, but should retry with the same token while
// the key set is unavailable.
func (s *keySet) lookUp(ctx context.Context, kid string) error {
	s.mu.Lock()
	if s.absent.has(kid, time.Now()) {
		s.mu.Unlock()
		return nil
	}
	if s.pending == nil {
		if !s.unknown.Allow() {
			defer s.mu.Unlock()
			return s.lastRefresh()
		}
		s.pending = make(chan struct{})
		s.wake()
	}
	done := s.pending
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
	if s.lastErr == nil && len(s.withKid(kid)) == 0 {
		s.absent.add(kid, time.Now())
	}
	return s.lastRefresh()
}

// lastRefresh returns ErrUnavailable if the last refresh failed. The caller has locked s.mu.
func (s *keySet) lastRefresh() error {
	if s.lastErr != nil {
		return ErrUnavailable
	}
	return nil
}
