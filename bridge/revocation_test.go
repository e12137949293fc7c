package bridge

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAKeyThatIsGoneEndsTheConnectionsItSigned(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		var gone atomic.Uint64
		w.hub.Revocations.Keys(func(id KeyID) bool { return uint64(id) != gone.Load() })
		links := map[KeyID]*fakeLink{}
		for _, key := range []KeyID{0, 1, 2} {
			r := persistent(UserID(fmt.Sprint("u", key)))
			r.Claims = Claims{User: r.Device.User, Key: key, ExpiresAt: time.Now().Add(time.Hour)}
			_, links[key], _ = w.connect(r)
		}
		gone.Store(1)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for key, l := range links {
			var want []EndReason
			if key == 1 {
				want = []EndReason{EndExpired}
			}
			if got := l.reasons(); !slices.Equal(got, want) {
				t.Errorf("key %d: ended %v, want %v", key, got, want)
			}
		}
	})
}

// held is how many bytes the heap has more than it had before, once f has run.
func held(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// Memory is bounded, however many tokens are revoked, and is a small part of what
// their names take.
func TestAMillionRevocationsTakeLittleMemory(t *testing.T) {
	const most = 64 << 20 // bytes
	for name, n := range map[string]int{"a million": 1 << 20, "more than are held": 1<<20 + 1<<19} {
		var r Revocations
		r.bound = 1 << 20
		if bytes := held(func() { fill(&r, n) }); bytes > most {
			t.Errorf("%s take %d MiB", name, bytes>>20)
		} else {
			t.Logf("%s take %d MiB", name, bytes>>20)
		}
		runtime.KeepAlive(&r)
	}
}

// fill adds n jtis as UUIDs are long, a page at a time.
func fill(r *Revocations, n int) {
	exp := time.Now().Add(time.Hour)
	for i := 0; i < n; {
		page := make([]Revocation, 0, 1000)
		for ; i < n && len(page) < cap(page); i++ {
			page = append(page, Revocation{ID: fmt.Sprintf("%036d", i), Expires: exp})
		}
		r.Add(page...)
	}
}

func BenchmarkRevoked(b *testing.B) {
	var r Revocations
	fill(&r, 1<<20)
	c := Claims{User: "7", ID: "another one"}
	for b.Loop() {
		if revoked, err := r.Revoked(b.Context(), c); revoked || err != nil {
			b.Fatal(revoked, err)
		}
	}
}
