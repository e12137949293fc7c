package delivery

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

func TestAWithdrawnKeyEndsTheConnectionsOfItsTokens(t *testing.T) {
	inCluster(t, func(w *world, p *peers) {
		var gone atomic.Uint64
		w.hub.Revocations.Keys(func(id bridge.KeyID) bool { return uint64(id) != gone.Load() })
		links := map[bridge.KeyID]*fakeLink{}
		for _, key := range []bridge.KeyID{0, 1, 2} {
			r := persistent(bridge.UserID(fmt.Sprint("u", key)))
			r.Claims = bridge.Claims{User: r.Device.User, Key: key, ExpiresAt: time.Now().Add(time.Hour)}
			_, links[key], _ = w.connect(r)
		}
		gone.Store(1)
		fakeclock.Advance(5 * time.Second)
		for key, l := range links {
			var want []bridge.EndReason
			if key == 1 {
				want = []bridge.EndReason{bridge.EndExpired}
			}
			if got := l.reasons(); !slices.Equal(got, want) {
				t.Errorf("key %d: ended %v, want %v", key, got, want)
			}
		}
	})
}

// heapOf returns by how many bytes the heap has grown once f has run.
func heapOf(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// Memory is bounded, however many tokens are revoked, and small compared with their names.
func TestManyRevocationsTakeLittleMemory(t *testing.T) {
	const bound, most = 1 << 15, 64 // revocations, and bytes for each
	for name, n := range map[string]int{"as many as are held": bound, "more than are held": 2 * bound} {
		r := Revocations{limit: bound}
		if bytes := heapOf(func() { fill(&r, n) }); bytes > bound*most {
			t.Errorf("%s take %d bytes each", name, bytes/bound)
		}
		runtime.KeepAlive(&r)
	}
}

func BenchmarkAMillionRevocations(b *testing.B) {
	for b.Loop() {
		var r Revocations
		b.ReportMetric(float64(heapOf(func() { fill(&r, 1<<20) })>>20), "MiB")
		runtime.KeepAlive(&r)
	}
}

// fill adds n jtis of the length of a UUID, in pages.
func fill(r *Revocations, n int) {
	exp := time.Now().Add(time.Hour)
	for i := 0; i < n; {
		page := make([]bridge.Revocation, 0, 1000)
		for ; i < n && len(page) < cap(page); i++ {
			page = append(page, bridge.Revocation{ID: fmt.Sprintf("%036d", i), Expires: exp})
		}
		r.Add(page...)
	}
}

func BenchmarkRevoked(b *testing.B) {
	var r Revocations
	fill(&r, 1<<20)
	c := bridge.Claims{User: "7", ID: "another one"}
	for b.Loop() {
		if revoked, err := r.Revoked(b.Context(), c); revoked || err != nil {
			b.Fatal(revoked, err)
		}
	}
}
