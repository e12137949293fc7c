package redis_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge/bus/bustest"
	"github.com/falconalert/falconbridge/bridge/bus/redis"
	"github.com/falconalert/falconbridge/internal/testserver"
)

func newRate(t *testing.T, url string) *redis.Rate {
	t.Helper()
	r, err := redis.NewRate(redis.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestNodesShareARate(t *testing.T) {
	server := testserver.NewRedis(t)
	a, b := newRate(t, server.URL), newRate(t, server.URL)
	take := func(r *redis.Rate, key string) (wait time.Duration) {
		t.Helper()
		testserver.Eventually(t, 10*time.Second, func() (err error) { // a busy machine may exceed the timeout of Take
			wait, err = r.Take(t.Context(), key, 0.1, 4)
			return err
		})
		return wait
	}
	for i, r := range []*redis.Rate{a, b, a, b} {
		if wait := take(r, "user:7"); wait != 0 {
			t.Fatalf("call %d has to wait %v", i, wait)
		}
	}
	for _, r := range []*redis.Rate{a, b} {
		if wait := take(r, "user:7"); wait <= 0 || wait > 10*time.Second {
			t.Errorf("the fifth call has to wait %v", wait)
		}
		if wait := take(r, "user:8"); wait != 0 {
			t.Errorf("another user has to wait %v", wait)
		}
	}
	c := client(t, server.Addr)
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys %q, %v", keys, err)
	}
	for _, k := range keys {
		if ttl := c.PTTL(t.Context(), k).Val(); ttl <= 0 || ttl > 41*time.Second {
			t.Errorf("%s expires after %v", k, ttl)
		}
	}
}

func TestConcurrentCallsDoNotExceedTheRate(t *testing.T) {
	server := testserver.NewRedis(t)
	nodes := []*redis.Rate{newRate(t, server.URL), newRate(t, server.URL)}
	var granted, failed atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 25 {
				switch wait, err := nodes[i%2].Take(t.Context(), "ip:192.0.2.1", 0.01, 20); {
				case err != nil:
					failed.Add(1)
				case wait == 0:
					granted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := granted.Load(); n > 20 || n < 20 && failed.Load() == 0 {
		t.Errorf("%d calls were allowed, want 20; %d failed", n, failed.Load())
	}
}

func TestARateFailsFastWhileRedisIsUnavailableAndRecovers(t *testing.T) {
	server := testserver.NewRedis(t)
	proxy := bustest.NewProxy(t, server.Addr)
	r := newRate(t, "redis://"+proxy.Addr+"/0")
	granted := func() error {
		wait, err := r.Take(t.Context(), "user:7", 1000, 1000)
		if err == nil && wait != 0 {
			err = fmt.Errorf("has to wait %v", wait)
		}
		return err
	}
	testserver.Eventually(t, 10*time.Second, granted)
	must := func(f func() error) func() {
		return func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, outage := range map[string]struct{ begin, end func() }{
		"frozen": {proxy.Freeze, proxy.Thaw}, "gone": {must(server.Stop), must(server.Start)},
	} {
		outage.begin()
		begun := time.Now()
		for range 1000 {
			if granted() == nil {
				t.Fatalf("%s: a call succeeded", name)
			}
		}
		if took := time.Since(begun); took > 30*time.Second { // it would be 100 s if each call waited for a response
			t.Errorf("%s: a thousand calls took %v", name, took)
		}
		outage.end()
		testserver.Eventually(t, 10*time.Second, granted)
	}
	before := r.Failures()
	if before == 0 {
		t.Error("no failure was counted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Take(ctx, "user:7", 1000, 1000); err == nil || r.Failures() != before {
		t.Errorf("a caller that gave up: %v, and it was counted as a failure of Redis", err)
	}
	if err := granted(); err != nil {
		t.Errorf("the call after a caller that gave up: %v", err)
	}
}
