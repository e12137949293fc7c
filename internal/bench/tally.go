package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// maxDevices is how many devices of one user a tally can distinguish.
const maxDevices = 31

// answered marks a post whose response was 201.
const answered = 1 << maxDevices

// tally records when each post was due and which devices received it, to find notifications that
// were lost, duplicated, or delivered to the wrong user. Posts are numbered from 0. Memory for all
// of them is reserved at the start, so counting allocates nothing.
type tally struct {
	run     string
	users   int
	begun   time.Time
	due     []atomic.Int64  // in ns after begun, plus one; 0: not posted
	marks   []atomic.Uint32 // a bit for each device of the user, and the bit answered
	from    atomic.Int64    // the number of the first post that is measured
	latency histograms      // from when a post is due to the device

	received   atomic.Uint64 // first copies
	duplicated atomic.Uint64
	misrouted  atomic.Uint64
	foreign    atomic.Uint64 // messages of other posters or of another run
	last       atomic.Int64  // when the last first copy arrived, in ns after begun
}

func newTally(run string, users, posts int) *tally {
	y := &tally{run: run, users: users, begun: time.Now(),
		due: make([]atomic.Int64, posts), marks: make([]atomic.Uint32, posts)}
	y.setFrom(posts) // nothing is measured yet
	return y
}

// userOf returns the user of post n. All users come in rotation, in an order in which neighbours
// do not follow each other.
func (y *tally) userOf(n int) int { return int(uint64(n) * 7919 % uint64(y.users)) }

func (y *tally) measuredFrom() int { return int(y.from.Load()) }

func (y *tally) setFrom(n int) { y.from.Store(int64(n)) }

// mark is in every message, so that a device finds it without decoding JSON.
const mark = "bench:"

// appendMark appends the mark of post n of this run.
func (y *tally) appendMark(b []byte, n int) []byte {
	b = append(append(append(b, mark...), y.run...), ':')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, ':')
}

// got counts a message that d received.
func (y *tally) got(d *device, payload []byte) {
	now := time.Since(y.begun)
	n, ok := y.find(payload)
	if !ok {
		y.foreign.Add(1)
		return
	}
	due := y.due[n].Load()
	if due == 0 || y.userOf(n) != d.user {
		y.misrouted.Add(1)
		return
	}
	bit := uint32(1) << d.slot
	if y.marks[n].Or(bit)&bit != 0 {
		y.duplicated.Add(1)
		return
	}
	y.received.Add(1)
	if n >= y.measuredFrom() {
		y.latency.of(d.user).add(now - time.Duration(due-1))
	}
	if l := y.last.Load(); int64(now) > l {
		y.last.CompareAndSwap(l, int64(now)) // if two goroutines are here at once, either value will do
	}
}

// find returns the number of the post in a message of this run.
func (y *tally) find(payload []byte) (n int, ok bool) {
	i := bytes.Index(payload, []byte(mark))
	if i < 0 {
		return 0, false
	}
	rest, found := bytes.CutPrefix(payload[i+len(mark):], []byte(y.run+":"))
	if !found {
		return 0, false
	}
	for j, c := range rest {
		if c == ':' {
			return n, j > 0
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int(c-'0'); n >= len(y.due) {
			return 0, false
		}
	}
	return 0, false
}

// Delivery counts the outcomes of the posts whose response was 201.
type Delivery struct {
	Expected   uint64 `json:"expected"` // copies: posts times the devices of their users
	Received   uint64 `json:"received"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Misrouted  uint64 `json:"misrouted"`
	Unpromised uint64 `json:"unpromised,omitempty"` // received although the post got no 201
	Foreign    uint64 `json:"foreign,omitempty"`    // from other posters
}

// count returns the outcome of the first posted posts. devices is how many each user has.
func (y *tally) count(posted, devices int) Delivery {
	r := Delivery{Received: y.received.Load(), Duplicated: y.duplicated.Load(), Misrouted: y.misrouted.Load(), Foreign: y.foreign.Load()}
	for n := range min(posted, len(y.marks)) {
		m := y.marks[n].Load()
		has := uint64(0)
		for s := range devices {
			has += uint64(m >> s & 1)
		}
		switch {
		case m&answered != 0:
			r.Expected += uint64(devices)
			r.Lost += uint64(devices) - has
		default:
			r.Unpromised += has
		}
	}
	return r
}

// Fault returns an error if notifications were lost, duplicated or misrouted.
func (r Delivery) Fault() error {
	if r.Lost+r.Misrouted+r.Duplicated == 0 {
		return nil
	}
	return fmt.Errorf("%d lost, %d duplicated, %d misrouted", r.Lost, r.Duplicated, r.Misrouted)
}
