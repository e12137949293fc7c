package bus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestBackoffGrowsToItsLimitAndIsSpread(t *testing.T) {
	var b Backoff
	longest := 50 * time.Millisecond
	seen := map[time.Duration]bool{}
	for range 50 {
		d := b.next()
		if d < longest || d > 5*time.Second {
			t.Fatalf("a pause of %v, want at least %v", d, longest)
		}
		longest = max(longest, min(d/2, 2500*time.Millisecond))
		seen[d] = true
	}
	if len(seen) < 25 {
		t.Error("the pauses are not random")
	}
	b.Reset()
	if d := b.next(); d > 100*time.Millisecond {
		t.Errorf("after Reset the pause is %v", d)
	}
}

func TestAnOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := NewClient("a", slog.New(slog.NewTextHandler(&log, nil)), 1)
		if s.Ready() == nil {
			t.Error("it is ready before Run")
		}
		ctx, cancel := context.WithCancel(t.Context())
		lost := errors.New("lost")
		n := 0
		err := s.Run(ctx, func(_ context.Context, up func()) error {
			n++
			switch n {
			case 1, 5:
				up()
				if err := s.Ready(); err != nil {
					t.Errorf("session %d listens, but Ready returns %v", n, err)
				}
			case 3:
				if !errors.Is(s.Ready(), lost) {
					t.Errorf("during the outage Ready returns %v", s.Ready())
				}
			case 6:
				cancel()
			}
			return lost
		}, func(context.Context) {})
		if err != nil {
			t.Error(err)
		}
		if got := strings.Count(log.String(), "is unavailable"); got != 2 {
			t.Errorf("two outages were logged %d times:\n%s", got, log.String())
		}
		if r := s.Stats().Reconnects; r != 1 {
			t.Errorf("%d reconnects were counted", r)
		}
	})
}

func TestAFullQueueDropsHints(t *testing.T) {
	q := NewClient("a", nil, 3)
	for i := range 5 {
		q.Enqueue(bridge.Hint{Seq: bridge.Seq(i), Items: make([]bridge.Notification, 1)})
	}
	if d := q.Stats().Dropped; d != 2 {
		t.Errorf("%d hints were counted as dropped", d)
	}
	if got := q.dequeue(t.Context(), 2, nil); len(got) != 2 || got[0].Seq != 0 || got[1].Seq != 1 || got[0].Items != nil {
		t.Errorf("dequeued %+v", got)
	}
	if got := q.dequeue(t.Context(), 2, nil); len(got) != 1 {
		t.Errorf("dequeued %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := q.dequeue(ctx, 2, nil); got != nil {
		t.Errorf("dequeued %+v after the end of ctx", got)
	}
}
