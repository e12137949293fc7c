package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// memStates has the states of inboxes. Every change deletes one notification: the change to rev
// n deletes the one with id n.
type memStates struct {
	mu          sync.Mutex
	revs        map[bridge.UserID]bridge.Rev
	kept        bridge.Rev // changes up to it are not known any more
	unavailable bool
	asked       []bridge.Rev // the revs of calls of Changes
	looked      int          // number of calls of Revs
}

func newMemStates() *memStates { return &memStates{revs: map[bridge.UserID]bridge.Rev{}} }

func (m *memStates) change(u bridge.UserID, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revs[u] += bridge.Rev(n)
}

func (m *memStates) setUnavailable(unavailable bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unavailable = unavailable
}

func (m *memStates) keepFrom(rev bridge.Rev) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = rev
}

func (m *memStates) Changes(_ context.Context, u bridge.UserID, since bridge.Rev) (bridge.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unavailable {
		return bridge.State{}, bridge.ErrUnavailable
	}
	m.asked = append(m.asked, since)
	s := bridge.State{Rev: m.revs[u]}.Refetch()
	if since < m.kept || since > s.Rev || s.Rev-since > bridge.MaxChanged {
		return s, nil
	}
	s.From = &since
	for id := since + 1; id <= s.Rev; id++ {
		s.Deleted = append(s.Deleted, int64(id))
	}
	return s, nil
}

func (m *memStates) Revs(_ context.Context, users []bridge.UserID) (map[bridge.UserID]bridge.Rev, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looked++
	if m.unavailable {
		return nil, bridge.ErrUnavailable
	}
	out := make(map[bridge.UserID]bridge.Rev)
	for _, u := range users {
		out[u] = m.revs[u]
	}
	return out, nil
}

// reads returns the revs for which the state was read since the last call.
func (m *memStates) reads() []bridge.Rev {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.asked
	m.asked = nil
	return asked
}

// stateWorld is a world with states.
type stateWorld struct {
	*world
	*memStates
}

func newStateWorld(t *testing.T, o Options) stateWorld {
	s := newMemStates()
	o.States = s
	return stateWorld{newWorld(t, o), s}
}

// follow connects a device that asks for states from rev on.
func (w stateWorld) follow(id string, rev bridge.Rev) (*Conn, *fakeLink) {
	r := persistent("7")
	r.Device.ClientID = id
	c, l, _ := w.connect(r)
	w.subscribe(c, following(rev))
	return c, l
}

// upToDate connects a device that has received and acknowledged its first state.
func (w stateWorld) upToDate(t *testing.T) (*Conn, *fakeLink) {
	t.Helper()
	c, l := w.follow("phone", 0)
	soon()
	_, ms := receivedStates(t, l)
	if len(ms) != 1 {
		t.Fatalf("%d states arrived, want the first one", len(ms))
	}
	c.Ack(ms[0].PacketID)
	return c, l
}

func following(rev bridge.Rev) SubscribeRequest {
	return SubscribeRequest{Subscription: bridge.Subscription{QoS: 1, ID: 5}, RetainHandling: 2, State: &rev}
}

// changed makes n changes of user 7's inbox, each with a hint.
func (w stateWorld) changed(n int) {
	for range n {
		w.change("7", 1)
		w.hub.Hint(bridge.Hint{Type: bridge.HintState, User: "7"})
	}
}

// soon waits until the scheduled reads of states are done.
func soon() {
	fakeclock.Advance(2 * stateDelay)
}

// receivedStates returns the states received since the last call, as from-rev, and their
// messages.
func receivedStates(t *testing.T, l *fakeLink) (words []string, ms []StateMessage) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	ms, l.states = l.states, nil
	words = []string{}
	for _, m := range ms {
		var s bridge.State
		if err := json.Unmarshal(m.Payload, &s); err != nil {
			t.Fatal(err)
		}
		from := "null"
		if s.From != nil {
			from = fmt.Sprint(*s.From)
		}
		words = append(words, fmt.Sprintf("%s-%d", from, s.Rev))
	}
	return words, ms
}

func wantStates(t *testing.T, what string, l *fakeLink, want ...string) []StateMessage {
	t.Helper()
	got, ms := receivedStates(t, l)
	if !slices.Equal(got, want) {
		t.Errorf("%s: states %v, want %v", what, got, want)
	}
	return ms
}

func TestStateMessagesFollowTheSuback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		w.change("7", 3)
		c, l, _ := w.connect(persistent("7"))
		r := following(1)
		r.Filter = w.hub.o.Topics.Status("7")
		if err := c.Subscribe(t.Context(), []SubscribeRequest{r}, nil)[0]; err != nil {
			t.Fatal(err)
		}
		w.changed(1)
		soon()
		wantStates(t, "before the SUBACK", l)
		c.Activate(r.Filter)
		soon()
		ms := wantStates(t, "after it", l, "1-4")
		if m := ms[0]; m.Topic != r.Filter || m.QoS != 1 || m.PacketID <= ownIDs || m.SubID != 5 || m.Epoch != "e1" {
			t.Errorf("the message is %+v", m)
		}
		w.changed(3)
		soon()
		wantStates(t, "while one is not acknowledged", l)
		if !c.Ack(ms[0].PacketID) || c.Ack(ms[0].PacketID) {
			t.Error("its PUBACK is not accepted")
		}
		soon()
		ms = wantStates(t, "the changes meanwhile, combined", l, "4-7")
		c.Ack(ms[0].PacketID)
		soon()
		wantStates(t, "while nothing changes", l)
		w.hub.Hint(bridge.Hint{Type: bridge.HintState, User: "7"})
		soon()
		wantStates(t, "after a hint without a change", l)
		w.subscribe(c, following(7))
		soon()
		wantStates(t, "subscribed again without a change", l, "7-7")
	})
}

func TestStateIsReadOnceForAllDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		var conns []*Conn
		var links []*fakeLink
		for i := range 5 {
			c, l := w.follow(fmt.Sprint("d", i), 0)
			conns, links = append(conns, c), append(links, l)
		}
		other, idle, _ := w.connect(persistent("7"))
		w.subscribe(other, SubscribeRequest{Subscription: bridge.Subscription{QoS: 1}})
		soon()
		for i, l := range links {
			conns[i].Ack(wantStates(t, "the first", l, "0-0")[0].PacketID)
		}
		w.reads()
		for round := range bridge.Rev(3) {
			w.changed(10)
			w.hub.Hint(bridge.Hint{Type: bridge.HintState, User: "7"}) // a duplicate
			soon()
			if got := w.reads(); !slices.Equal(got, []bridge.Rev{10 * round}) {
				t.Errorf("read since %v for five devices and ten changes", got)
			}
			for i, l := range links {
				conns[i].Ack(wantStates(t, "all changes", l, fmt.Sprintf("%d-%d", 10*round, 10*round+10))[0].PacketID)
			}
		}
		wantStates(t, "a device that did not ask for states", idle)
	})
}

// Nothing is read or kept for users whose devices do not ask for states.
func TestStateMessagesCostNothingWhileUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		c, _, _ := w.connect(persistent("7"))
		w.subscribe(c, SubscribeRequest{Subscription: bridge.Subscription{QoS: 1}})
		w.changed(10)
		fakeclock.Advance(time.Minute)
		if got := w.reads(); len(got) > 0 || w.looked > 0 || c.follower != nil {
			t.Errorf("read since %v, looked %d times, follower %v", got, w.looked, c.follower)
		}
	})
}

// A device that is far behind must not make the others fetch their lists again.
func TestADeviceFarBehindIsServedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		w.change("7", 300)
		near, nearLink := w.follow("near", 300)
		_, farLink := w.follow("far", 5)
		_, futureLink := w.follow("future", 4000)
		soon()
		near.Ack(wantStates(t, "near", nearLink, "300-300")[0].PacketID)
		wantStates(t, "far", farLink, "null-300")
		wantStates(t, "of a rev that never was", futureLink, "null-300")
		w.changed(1)
		soon()
		wantStates(t, "near", nearLink, "300-301")
		w.keepFrom(301) // as after a mute
		_, late := w.follow("late", 300)
		soon()
		wantStates(t, "after a mute", late, "null-301")
	})
}

func TestStateMessagesEndWithTheSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		for name, end := range map[string]func(c *Conn){
			"a SUBSCRIBE without it": func(c *Conn) { w.subscribe(c, SubscribeRequest{}) },
			"an UNSUBSCRIBE":         func(c *Conn) { _, _ = c.Unsubscribe(t.Context(), w.hub.o.Topics.Status("7")) },
			"the connection":         func(c *Conn) { c.Close() },
		} {
			c, l := w.follow("phone", 0)
			soon()
			_, _ = receivedStates(t, l)
			end(c)
			w.changed(1)
			soon()
			wantStates(t, name, l)
			if n := w.hub.followers.Load(); n != 0 || w.hub.entry("7").followers != nil {
				t.Errorf("%s: %d followers are left", name, n)
			}
			c.Close()
		}
		c, l, _ := w.connect(persistent("7")) // the session has a subscription
		w.changed(1)
		soon()
		wantStates(t, "a resumed session", l)
		c.Close()
	})
}

// A SUBSCRIBE after the connection has ended must leave nothing in the hub.
func TestAFollowerOfAClosedConnectionIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		c, _ := w.follow("phone", 0)
		c.Close()
		c.follow(new(bridge.Rev(1)))
		if n := w.hub.followers.Load(); n != 0 {
			t.Errorf("%d followers are left", n)
		}
	})
}

func TestStateOfAnotherUsersTopicIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		r := persistent("op")
		r.Claims = bridge.Claims{User: "op", Scope: bridge.ScopeRead, ExpiresAt: time.Now().Add(time.Hour)}
		c, l, _ := w.connect(r)
		for _, filter := range []string{w.hub.o.Topics.Status("7"), "users/+/reports/status"} {
			s := following(0)
			s.Filter = filter
			w.subscribe(c, s)
		}
		w.changed(1)
		soon()
		wantStates(t, "another user's", l)
	})
}

// slowLog is a log that returns some time after it has read.
type slowLog struct {
	*memLog
	pace time.Duration
}

func (l slowLog) After(ctx context.Context, u bridge.UserID, after bridge.Seq, limit int) ([]bridge.Notification, error) {
	ns, err := l.memLog.After(ctx, u, after, limit)
	fakeclock.Spend(l.pace)
	return ns, err
}

func (l slowLog) Head(ctx context.Context, u bridge.UserID) (bridge.Head, error) {
	h, err := l.memLog.Head(ctx, u)
	fakeclock.Spend(l.pace)
	return h, err
}

// A notification that was read before it was deleted must not be sent after the state that
// reports the deletion, or it would stay on the screen.
func TestAStateMessageIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, slow := range map[string]struct{ read, write time.Duration }{
			"while the pump reads":  {read: 4 * stateDelay},
			"while the pump writes": {write: 4 * stateDelay},
		} {
			w := newStateWorld(t, Options{})
			w.hub.o.Log = slowLog{w.log, slow.read}
			c, l := w.upToDate(t)
			l.mu.Lock()
			l.pace, l.order = slow.write, nil
			l.mu.Unlock()
			w.appendUnheard("7")
			w.hub.Hint(bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: 1})
			fakeclock.Advance(time.Millisecond) // the pump has read the row
			w.log.delete("7", 1)
			w.changed(1)
			fakeclock.Advance(10 * stateDelay)
			l.mu.Lock()
			if at := slices.Index(l.order, "state"); at < 0 || at != len(l.order)-1 {
				t.Errorf("%s: received %v", name, l.order)
			}
			l.mu.Unlock()
			c.Close()
		}
	})
}

// A late hint may carry notifications that are older than the state.
func TestItemsOlderThanTheStateAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		_, l := w.upToDate(t)
		begun := time.Now()
		w.appendUnheard("7")
		items := w.log.deliverable("7", 0)
		w.log.delete("7", 1)
		w.changed(1)
		soon()
		w.hub.Hint(bridge.Hint{Type: bridge.HintAppended, User: "7", Seq: 1, Items: items, At: begun})
		soon()
		if got, _ := l.drain(); len(got) > 0 {
			t.Errorf("got %v after the state that deleted it", got)
		}
	})
}

func TestStateMessagesLeaveRoomForNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for most, qos := range map[int]byte{1: 0, 2: 1, 40: 1} {
			w := newStateWorld(t, Options{Window: 32})
			r := persistent("7")
			r.ReceiveMaximum = most
			c, l, _ := w.connect(r)
			w.subscribe(c, following(0))
			soon()
			if ms := wantStates(t, fmt.Sprint("of ", most), l, "0-0"); ms[0].QoS != qos {
				t.Errorf("Receive Maximum %d: QoS %d, want %d", most, ms[0].QoS, qos)
			}
			w.notify("7", strings.Split(strings.Repeat("x ", 50)+"x", " ")...)
			soon()
			want := min(32, most-int(qos))
			got, ids := l.drain()
			if len(got) != want {
				t.Errorf("Receive Maximum %d: %d notifications while the state is in flight, want %d", most, len(got), want)
			}
			// Neither makes the other wait: each acknowledgement makes room for one more.
			c.mu.Lock()
			if f := c.follower; f.packet != 0 {
				c.mu.Unlock()
				c.Ack(f.packet)
			} else {
				c.mu.Unlock()
			}
			w.changed(1)
			for len(ids) > 0 {
				for _, id := range ids {
					c.Ack(id)
				}
				soon()
				_, ids = l.drain()
			}
			wantStates(t, "while notifications fill the window", l, "0-1")
			c.Close()
		}
	})
}

func TestAStateThatIsTooLargeHasTheListFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		c, l := w.upToDate(t)
		l.mu.Lock()
		l.refuse = 200
		l.mu.Unlock()
		w.changed(100)
		soon()
		ms := wantStates(t, "100 ids", l, "null-100")
		c.Ack(ms[0].PacketID)
		l.mu.Lock()
		l.refuse = 10
		l.mu.Unlock()
		w.changed(1)
		soon()
		wantStates(t, "no room for any state", l)
		l.mu.Lock()
		l.refuse = 0
		l.mu.Unlock()
		w.changed(1)
		soon()
		wantStates(t, "the former counted as delivered", l, "101-102")
	})
}

func TestALostStateHintIsRepairedByTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		c, l := w.upToDate(t)
		w.change("7", 1)
		fakeclock.Advance(5*time.Second + 2*stateDelay)
		ms := wantStates(t, "5 s after the commit", l, "0-1")
		c.Ack(ms[0].PacketID)
		w.reads()
		fakeclock.Advance(time.Minute)
		if got := w.reads(); len(got) > 0 {
			t.Errorf("read since %v without a change", got)
		}
		w.change("7", 1)
		w.hub.Reconnected()
		soon()
		wantStates(t, "when the bus reconnects", l, "1-2")
	})
}

func TestStateMessagesWaitForTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		w.setUnavailable(true)
		_, l := w.follow("phone", 0)
		fakeclock.Advance(10 * time.Second)
		wantStates(t, "while it is unavailable", l)
		w.setUnavailable(false)
		fakeclock.Advance(time.Second)
		wantStates(t, "when it is available again", l, "0-0")
	})
}

func TestADeviceThatNeverAcknowledgesAStateIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		_, l := w.follow("phone", 0)
		fakeclock.Advance(30 * time.Second)
		if got := l.reasons(); !slices.Equal(got, []bridge.EndReason{bridge.EndSilent}) {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestStateOfAnExpiredTokenIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{AckWait: time.Hour})
		r := persistent("7")
		r.Claims = bridge.Claims{User: "7", ExpiresAt: time.Now().Add(time.Second)}
		c, l, _ := w.connect(r)
		w.subscribe(c, following(0))
		soon()
		_, ms := receivedStates(t, l)
		c.Ack(ms[0].PacketID)
		fakeclock.Advance(time.Second)
		w.changed(1)
		soon()
		wantStates(t, "of an expired token", l)
	})
}

// The PUBACK of a state message that an earlier SUBSCRIBE asked for must not change the rev
// that a later SUBSCRIBE named.
func TestSubscribingAgainStartsFromItsOwnRev(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		w.change("7", 9)
		c, l := w.follow("phone", 8)
		soon()
		former := wantStates(t, "the first", l, "8-9")[0]
		w.subscribe(c, following(3))
		soon()
		wantStates(t, "while the first is not acknowledged", l)
		c.Ack(former.PacketID)
		soon()
		wantStates(t, "then", l, "3-9")
	})
}

// A state is read without a lock. If the follower is sent a message or acknowledges one
// meanwhile, it misses the offer, and no sweep would notice, because the hub has read that
// rev.
func TestAStateOfferedAtTheWrongMomentIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		c, l := w.follow("phone", 0)
		soon()
		_, ms := receivedStates(t, l) // in flight
		w.change("7", 1)
		r, err := w.hub.readState("7", 0)
		if err != nil {
			t.Fatal(err)
		}
		c.offerState(0, r)
		s := w.hub.shard("7")
		s.mu.Lock()
		s.users["7"].rev = r.Rev // as readStates sets it
		s.mu.Unlock()
		c.Ack(ms[0].PacketID)
		soon()
		ms = wantStates(t, "offered while one was in flight", l, "0-1")
		c.Ack(ms[0].PacketID)
		w.change("7", 1)
		if r, err = w.hub.readState("7", 0); err != nil {
			t.Fatal(err)
		}
		c.offerState(0, r) // the device is at 1 by now
		s.mu.Lock()
		s.users["7"].rev = r.Rev
		s.mu.Unlock()
		soon()
		wantStates(t, "offered for a rev that it had passed", l, "1-2")
		c.Close()
	})
}

// A read that began before all devices of a user left must not interfere with the reads for
// devices that have connected since.
func TestAStateReadEndsWhenItsDevicesHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStateWorld(t, Options{})
		c, _ := w.follow("phone", 0)
		soon()
		w.changed(1) // is read after stateDelay
		c.Close()
		synctest.Wait()
		w.reads()
		_, l := w.follow("phone", 0)
		soon()
		wantStates(t, "after the reconnect", l, "0-1")
		if got := w.reads(); len(got) != 1 {
			t.Errorf("the state was read since %v, want once", got)
		}
	})
}
