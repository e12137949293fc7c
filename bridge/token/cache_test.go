package token_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/bridge/token"
)

func TestVerifiedTokenStillExpires(t *testing.T) {
	now := noon
	v := verifier(t, func(o *token.Options) { o.Now = func() time.Time { return now } })
	raw := access("")
	for range 2 {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	now = noon.Add(time.Hour)
	if _, err := v.Verify(t.Context(), raw); !errors.Is(err, token.ErrExpired) {
		t.Errorf("after its exp: %v, want ErrExpired", err)
	}
}

func TestVerifiedTokenCanStillBeRevoked(t *testing.T) {
	for name, r := range map[string]bridge.Revocation{
		"by jti":           {ID: "one"},
		"by user and time": {User: "7", Before: noon},
	} {
		t.Run(name, func(t *testing.T) {
			var rs delivery.Revocations
			v := verifier(t, func(o *token.Options) { o.Revoked = rs.Revoked })
			raw := access(fmt.Sprintf(`,"jti":"one","iat":%d`, noon.Add(-time.Minute).Unix()))
			other := access(fmt.Sprintf(`,"jti":"two","iat":%d`, noon.Unix()))
			if _, err := v.Verify(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
			rs.Add(r)
			if _, err := v.Verify(t.Context(), raw); !errors.Is(err, token.ErrRevoked) {
				t.Errorf("error %v, want ErrRevoked", err)
			}
			if _, err := v.Verify(t.Context(), other); err != nil {
				t.Errorf("a token that the revocation does not cover: %v", err)
			}
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	const many, size = 20000, 256
	v := verifier(t, func(o *token.Options) { o.CacheSize = size })
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range many {
		if _, err := v.Verify(t.Context(), access(fmt.Sprintf(`,"jti":"%d"`, i))); err != nil {
			t.Fatal(err)
		}
	}
	// A cached token takes about 200 bytes, so an unbounded cache would grow to 4 MB.
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the heap grew by %[2]d bytes over %[1]d tokens", many, grown)
	}
	if _, err := v.Verify(t.Context(), access("")); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(v)
}

func TestVerifyIsSafeForConcurrentUse(t *testing.T) {
	var checks atomic.Int64
	v := verifier(t, func(o *token.Options) {
		o.CacheSize = 64
		o.Revoked = func(context.Context, bridge.Claims) (bool, error) { checks.Add(1); return false, nil }
	})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				user := fmt.Sprint((g*200 + i) % 100)
				c, err := v.Verify(t.Context(), hs256(plainHeader, fmt.Sprintf(`{"sub":%q,"exp":%d}`, user, unixAt(time.Hour)), secret))
				if err != nil || string(c.User) != user {
					t.Errorf("a token of user %q gives user %q, error %v", user, c.User, err)
				}
			}
		})
	}
	wg.Wait()
	if checks.Load() != 8*200 {
		t.Errorf("revocation was checked %d times, want %d", checks.Load(), 8*200)
	}
}
