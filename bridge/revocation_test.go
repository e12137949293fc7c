package bridge

import (
	"fmt"
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
