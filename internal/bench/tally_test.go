package bench

import (
	"testing"
	"time"
)

// posted returns a tally of two posts that got their 201, to two users.
func posted(t *testing.T) *tally {
	t.Helper()
	y := newTally("run", 2, 4)
	y.setFrom(0)
	for n := range 2 {
		y.due[n].Store(1)
		y.marks[n].Or(answered)
	}
	if y.userOf(0) == y.userOf(1) {
		t.Fatal("both posts are to one user")
	}
	return y
}

func TestATallyFindsLostDuplicatedAndMisroutedMessages(t *testing.T) {
	body := func(y *tally, n int) []byte { return appendBody(nil, y, n, 300) }
	for name, tt := range map[string]struct {
		play func(y *tally)
		want Delivery
	}{
		"both copies arrived": {func(y *tally) {
			y.got(&device{user: y.userOf(0)}, body(y, 0))
			y.got(&device{user: y.userOf(1)}, body(y, 1))
		}, Delivery{Expected: 2, Received: 2}},
		"one never arrived": {func(y *tally) {
			y.got(&device{user: y.userOf(0)}, body(y, 0))
		}, Delivery{Expected: 2, Received: 1, Lost: 1}},
		"one arrived twice": {func(y *tally) {
			y.got(&device{user: y.userOf(0)}, body(y, 0))
			y.got(&device{user: y.userOf(0)}, body(y, 0))
			y.got(&device{user: y.userOf(1)}, body(y, 1))
		}, Delivery{Expected: 2, Received: 2, Duplicated: 1}},
		"one went to another user": {func(y *tally) {
			y.got(&device{user: y.userOf(1)}, body(y, 0))
			y.got(&device{user: y.userOf(1)}, body(y, 1))
		}, Delivery{Expected: 2, Received: 1, Lost: 1, Misrouted: 1}},
		"one was never posted": {func(y *tally) {
			y.got(&device{user: y.userOf(0)}, body(y, 0))
			y.got(&device{user: y.userOf(1)}, body(y, 1))
			y.got(&device{user: y.userOf(2)}, body(y, 2))
		}, Delivery{Expected: 2, Received: 2, Misrouted: 1}},
		"one arrived without a 201": {func(y *tally) {
			y.due[2].Store(1)
			y.got(&device{user: y.userOf(0)}, body(y, 0))
			y.got(&device{user: y.userOf(1)}, body(y, 1))
			y.got(&device{user: y.userOf(2)}, body(y, 2))
		}, Delivery{Expected: 2, Received: 3, Unpromised: 1}},
		"messages of another run arrived": {func(y *tally) {
			other := newTally("other", 2, 4)
			y.got(&device{user: y.userOf(0)}, body(y, 0))
			y.got(&device{user: y.userOf(1)}, body(y, 1))
			y.got(&device{user: y.userOf(1)}, body(other, 1))
			y.got(&device{user: y.userOf(1)}, []byte(`{"title":"Hola"}`))
		}, Delivery{Expected: 2, Received: 2, Foreign: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			y := posted(t)
			tt.play(y)
			got := y.count(4, 1)
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if bad := tt.want.Lost+tt.want.Duplicated+tt.want.Misrouted > 0; (got.Fault() != nil) != bad {
				t.Errorf("the fault is %v", got.Fault())
			}
		})
	}
}

func TestEveryDeviceOfAUserIsCounted(t *testing.T) {
	y := posted(t)
	for slot := range 3 {
		y.got(&device{user: y.userOf(0), slot: slot}, appendBody(nil, y, 0, 0))
	}
	want := Delivery{Expected: 6, Received: 3, Lost: 3}
	if got := y.count(4, 3); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestLatencyCountsFromWhenThePostWasDue(t *testing.T) {
	y := newTally("run", 1, 1)
	y.setFrom(0)
	y.begun = time.Now().Add(-time.Minute)
	y.due[0].Store(int64(30*time.Second) + 1)
	y.got(&device{}, appendBody(nil, y, 0, 300))
	if l := y.latency.latency(); l.P50 < 30_000 || l.P50 > 31_000 {
		t.Errorf("a post due half a minute ago took %v ms", l.P50)
	}
}
