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

func TestNodesLimitTogether(t *testing.T) {
	server := testserver.NewRedis(t)
	a, b := newRate(t, server.URL), newRate(t, server.URL)
	ask := func(r *redis.Rate, key string) (wait time.Duration) {
		t.Helper()
		testserver.Eventually(t, 10*time.Second, func() (err error) { // a busy machine may be slower than the limit
			wait, err = r.Take(t.Context(), key, 0.1, 4)
			return err
		})
		return wait
	}
	for i, r := range []*redis.Rate{a, b, a, b} {
		if wait := ask(r, "user:7"); wait != 0 {
			t.Fatalf("call %d has to wait %v", i, wait)
		}
	}
	for _, r := range []*redis.Rate{a, b} {
		if wait := ask(r, "user:7"); wait <= 0 || wait > 10*time.Second {
			t.Errorf("the fifth call has to wait %v", wait)
		}
		if wait := ask(r, "user:8"); wait != 0 {
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
			t.Errorf("%s is forgotten after %v", k, ttl)
		}
	}
}

func TestManyAtOnceGetNoMoreThanTheRate(t *testing.T) {
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
		t.Errorf("%d calls were granted, want 20; %d failed", n, failed.Load())
	}
}

func TestARateFailsFastWhileRedisIsAwayAndComesBack(t *testing.T) {
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
	for name, change := range map[string]struct{ leave, back func() }{
		"frozen": {proxy.Freeze, proxy.Thaw}, "gone": {must(server.Stop), must(server.Start)},
	} {
		change.leave()
		begun := time.Now()
		for range 1000 {
			if granted() == nil {
				t.Fatalf("%s: it answers", name)
			}
		}
		if took := time.Since(begun); took > 30*time.Second { // 100 s where each waits for an answer
			t.Errorf("%s: a thousand calls took %v", name, took)
		}
		change.back()
		testserver.Eventually(t, 10*time.Second, granted)
	}
	before := r.Failures()
	if before == 0 {
		t.Error("no failure is counted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Take(ctx, "user:7", 1000, 1000); err == nil || r.Failures() != before {
		t.Errorf("a caller that has gone: %v, counted as Redis's failure", err)
	}
	if err := granted(); err != nil {
		t.Errorf("and keeps the next one from asking: %v", err)
	}
}
