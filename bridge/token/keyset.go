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

	// A token with an unknown kid makes the set be fetched early, at most this often
	// for all of them together, so that forged kids cannot be turned into load on
	// the issuer (RFC 8725 §3.10). The verification waits no longer than that.
	unknownKidEvery = 10 * time.Second
	unknownKidWait  = 1500 * time.Millisecond

	// Each key that a token may be signed with is tried, forged ones included, and a
	// set of 1 MiB has room for thousands.
	maxTried = 16
)

// keySet is a JSON Web Key Set (RFC 7517) behind a URL: cached, refreshed, and
// fetched early for a kid it does not know. While a refresh fails, or returns no
// usable key, the former keys stay.
//
// One goroutine fetches. A caller with an unknown kid only wakes it: one that hangs
// up early, with a forged kid, does not cancel the refresh that others wait for.
type keySet struct {
	url    string
	client *http.Client
	every  time.Duration
	report func(error)

	ring    atomic.Pointer[keyring]
	unknown *rate.Limiter
	ask     chan struct{}

	mu     sync.Mutex
	asking chan struct{} // closed at the end of the refresh that was asked for; nil: none
	failed error         // of the last refresh
	absent absentKids
}

// newKeySet fetches once and keeps fetching until ctx ends. It fails where the first
// response cannot be used.
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
		report:  o.OnRefresh,
		unknown: rate.NewLimiter(rate.Every(unknownKidEvery), 1),
		ask:     make(chan struct{}, 1),
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
		case <-s.ask:
		}
		next := s.every
		if err := s.refresh(ctx); err != nil {
			next = min(s.every, keySetRetry)
		}
		timer.Reset(next)
	}
}

// wake makes run fetch now, unless it is about to.
func (s *keySet) wake() {
	select {
	case s.ask <- struct{}{}:
	default:
	}
}

// refresh fetches once, reports how it went and wakes the callers that wait for it.
func (s *keySet) refresh(ctx context.Context) error {
	keys, err := fetchKeys(ctx, s.client, s.url)
	if err == nil {
		s.ring.Store(newKeyring(keys))
	}
	s.mu.Lock()
	s.failed = err
	if s.asking != nil {
		close(s.asking)
		s.asking = nil
	}
	s.mu.Unlock()
	if ctx.Err() == nil {
		s.report(err)
	}
	return err
}

func (s *keySet) knows(id bridge.KeyID) bool { return s.ring.Load().knows(id) }

// fitting returns the keys of the set that alg may be verified with: those named by
// kid, or all where kid is "", but none where they are more than maxTried. It fails with ErrUnavailable where kid is unknown and
// the set could not be asked about it.
func (s *keySet) fitting(ctx context.Context, kid, alg string) ([]key, error) {
	keys := s.named(kid)
	if len(keys) == 0 && kid != "" {
		if err := s.lookUp(ctx, kid); err != nil {
			return nil, err
		}
		keys = s.named(kid)
	}
	keys = fitting(keys, alg)
	if len(keys) > maxTried {
		return nil, nil
	}
	return keys, nil
}

func (s *keySet) named(kid string) []key {
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

// lookUp asks the issuer about a kid that is not in the set, and returns after the
// next refresh. The issuer is not asked again about a kid
// that it did not know a moment ago, nor within unknownKidEvery of the last such
// question: then the set is as of that one, and the kid is unknown as well. A client
// replaces its token for "unknown" only, never for ErrUnavailable, which is the
// error where the last refresh failed.
func (s *keySet) lookUp(ctx context.Context, kid string) error {
	s.mu.Lock()
	if s.absent.has(kid, time.Now()) {
		s.mu.Unlock()
		return nil
	}
	if s.asking == nil {
		if !s.unknown.Allow() {
			defer s.mu.Unlock()
			return s.judge()
		}
		s.asking = make(chan struct{})
		s.wake()
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
	if s.failed == nil && len(s.named(kid)) == 0 {
		s.absent.add(kid, time.Now())
	}
	return s.judge()
}

// judge reports whether the set is as of the last refresh. s.mu is locked.
func (s *keySet) judge() error {
	if s.failed != nil {
		return ErrUnavailable
	}
	return nil
}
