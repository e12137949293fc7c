package db

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/late"
	"github.com/falconalert/falconbridge/internal/testserver"
)

var lateRules = []late.Rule{{When: late.Unacknowledged, After: time.Minute}, {When: late.Unread, After: time.Hour}}

// follower calls the store as package late does.
type follower struct {
	t    *testing.T
	d    *DB
	at   late.Position
	node string
}

func newFollower(t *testing.T, d *DB) *follower {
	t.Helper()
	f := &follower{t: t, d: d, node: "n"}
	if _, leased, err := d.LeaseLate(testContext(t), f.node, time.Hour); err != nil || !leased {
		t.Fatalf("lease: %v, %v", leased, err)
	}
	f.enter(100)
	return f
}

// enter follows the log to its end, in steps of limit notifications.
func (f *follower) enter(limit int) {
	f.t.Helper()
	for more := true; more; {
		next, again, leased, err := f.d.Enter(testContext(f.t), f.node, f.at, 15*time.Second, lateRules, limit)
		if err != nil || !leased {
			f.t.Fatalf("enter: leased %v, %v", leased, err)
		}
		f.at, more = next, again
	}
}

// makeDue moves every attempt two hours into the past, so that it is due.
func (f *follower) makeDue() {
	f.t.Helper()
	exec(f.t, f.d, "UPDATE falcon_late SET due_at = due_at - 7200000, since = since - 7200000")
}

// due returns u's due attempts, each as its rule and client ID, with a minus if it is
// cancelled.
func (f *follower) due(u bridge.UserID) (out []string) {
	f.t.Helper()
	push, err := f.d.DuePush(testContext(f.t), 100, nil)
	must(f.t, err)
	hooks, err := f.d.DueWebhooks(testContext(f.t), 100)
	must(f.t, err)
	for _, a := range slices.Concat(push, hooks) {
		if a.Device.User != u {
			continue
		}
		word, _, _ := strings.Cut(a.Rule, " ")
		if a.Cancelled {
			word = "-" + word
		} else if a.Notification.Title == "" || a.Notification.Seq == 0 {
			f.t.Errorf("an attempt without its notification: %+v", a)
		}
		out = append(out, fmt.Sprint(word, " ", a.Device.ClientID))
	}
	slices.Sort(out)
	return out
}

func TestWhatCancelsAnAttempt(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		must(t, d.Beat(ctx, "n", bridge.Figures{}))
		f := newFollower(t, d)
		all := []string{"push phone", "unacknowledged ", "unread "}
		none := []string{"-push phone", "-unacknowledged ", "-unread "}
		acked := []string{"-push phone", "-unacknowledged ", "unread "}
		session := func(u bridge.UserID, client string, expiry time.Duration) bridge.Advance {
			dev := bridge.Device{User: u, ClientID: client}
			s, err := d.Open(ctx, bridge.OpenSession{Device: dev, Node: "n", Expiry: expiry})
			must(t, err)
			if expiry > 0 {
				_, _, err = d.Subscribe(ctx, dev, s.Generation, bridge.Subscription{QoS: 1}, nil)
				must(t, err)
			}
			return bridge.Advance{Device: dev, Generation: s.Generation}
		}
		type step = func(u bridge.UserID, n bridge.Notification)
		for name, tt := range map[string]struct {
			before, after step
			want          []string
		}{
			"nothing": {want: all},
			"read": {after: func(u bridge.UserID, n bridge.Notification) { must(t, second(d.Read(ctx, u, n.ID))) },
				want: none},
			"deleted": {after: func(u bridge.UserID, n bridge.Notification) { must(t, d.Delete(ctx, u, n.ID)) },
				want: none},
			"muted": {after: func(u bridge.UserID, _ bridge.Notification) { must(t, set(ctx, d, u, bridge.Settings{})) },
				want: none},
			"muted before": {before: func(u bridge.UserID, _ bridge.Notification) { must(t, set(ctx, d, u, bridge.Settings{})) }},
			"its kind is muted": {after: func(u bridge.UserID, _ bridge.Notification) {
				must(t, set(ctx, d, u, bridge.Settings{ReviewEnabled: true, Kinds: map[bridge.Kind]bool{bridge.KindMessage: false}}))
			}, want: none},
			"its kind is muted before": {before: func(u bridge.UserID, _ bridge.Notification) {
				must(t, set(ctx, d, u, bridge.Settings{ReviewEnabled: true, Kinds: map[bridge.Kind]bool{bridge.KindMessage: false}}))
			}},
			"another kind is muted": {after: func(u bridge.UserID, _ bridge.Notification) {
				must(t, set(ctx, d, u, bridge.Settings{ReviewEnabled: true, Kinds: map[bridge.Kind]bool{"marketing": false}}))
			}, want: all},
			"superseded": {after: func(u bridge.UserID, _ bridge.Notification) {
				exec(t, d, "UPDATE falcon_notifications SET replaces = 'k' WHERE user_id = ?", u)
				mustAppend(t, d, bridge.Command{Drafts: []bridge.Draft{under(u, "k", "later")}})
			}, want: none},
			"retained out": {after: func(bridge.UserID, bridge.Notification) {
				must(t, second(d.Retain(ctx, time.Now().Add(time.Hour), 1000)))
			},
				want: none},
			"expired": {after: func(u bridge.UserID, _ bridge.Notification) {
				exec(t, d, "UPDATE falcon_notifications SET expires_at = 1 WHERE user_id = ?", u)
			}, want: none},
			"not expired": {after: func(u bridge.UserID, _ bridge.Notification) {
				exec(t, d, "UPDATE falcon_notifications SET expires_at = 99999999999999 WHERE user_id = ?", u)
			}, want: all},
			"erased": {after: func(u bridge.UserID, _ bridge.Notification) { must(t, second(d.Erase(ctx, u))) }},
			"acknowledged by its session": {before: func(u bridge.UserID, _ bridge.Notification) { session(u, "phone", time.Hour) },
				after: func(u bridge.UserID, _ bridge.Notification) {
					a := session(u, "phone", time.Hour)
					a.Acked, a.Sent = 1, 1
					must(t, d.Advance(ctx, []bridge.Advance{a}))
				}, want: acked},
			"sent to its session, not acknowledged": {before: func(u bridge.UserID, _ bridge.Notification) { session(u, "phone", time.Hour) },
				after: func(u bridge.UserID, _ bridge.Notification) {
					a := session(u, "phone", time.Hour)
					a.Sent = 1
					must(t, d.Advance(ctx, []bridge.Advance{a}))
				}, want: all},
			"acknowledged by another device": {before: func(u bridge.UserID, _ bridge.Notification) { session(u, "tablet", time.Hour) },
				after: func(u bridge.UserID, _ bridge.Notification) {
					a := session(u, "tablet", time.Hour)
					a.Acked = 1
					must(t, d.Advance(ctx, []bridge.Advance{a}))
				}, want: []string{"-unacknowledged ", "push phone", "unread "}},
			// A new session starts at the end of the log, which acknowledges nothing.
			"another device subscribed later": {after: func(u bridge.UserID, _ bridge.Notification) { session(u, "tablet", time.Hour) }, want: all},
			"acknowledged without a session": {after: func(u bridge.UserID, _ bridge.Notification) {
				a := session(u, "phone", 0)
				must(t, d.Acknowledged(ctx, []bridge.Ack{{Device: a.Device, Generation: a.Generation, From: 0, To: 1}}))
			}, want: acked},
			"acknowledged, and the session has ended": {after: func(u bridge.UserID, _ bridge.Notification) {
				a := session(u, "tablet", time.Hour)
				must(t, d.Acknowledged(ctx, []bridge.Ack{{Device: a.Device, Generation: a.Generation, From: 0, To: 1}}))
				a.Closed = true
				must(t, d.Advance(ctx, []bridge.Advance{a}))
			}, want: []string{"-unacknowledged ", "push phone", "unread "}},
			"only later ones acknowledged": {after: func(u bridge.UserID, _ bridge.Notification) {
				a := session(u, "phone", 0)
				must(t, d.Acknowledged(ctx, []bridge.Ack{{Device: a.Device, Generation: a.Generation, From: 1, To: 9}}))
			}, want: all},
			"unregistered": {after: func(u bridge.UserID, _ bridge.Notification) {
				must(t, d.Unregister(ctx, registrationOf(u, "phone", string(u))))
			}, want: []string{"-push phone", "unacknowledged ", "unread "}},
		} {
			t.Run(name, func(t *testing.T) {
				u := fresh()
				must(t, d.RegisterDevice(ctx, registrationOf(u, "phone", string(u))))
				if tt.before != nil {
					tt.before(u, bridge.Notification{})
				}
				n := seed(t, d, u, 1)[0]
				f.enter(100)
				if got := f.due(u); len(got) > 0 {
					t.Errorf("due too early: %q", got)
				}
				if tt.after != nil {
					tt.after(u, n)
				}
				f.makeDue()
				if got := f.due(u); !slices.Equal(got, tt.want) {
					t.Errorf("due %q, want %q", got, tt.want)
				}
			})
		}
	})
}

func TestTheFollowerEntersEachNotificationOnce(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		u, other := fresh(), fresh()
		seed(t, d, u, 3) // before the follower runs for the first time
		must(t, d.RegisterDevice(ctx, registrationOf(u, "phone", "e")))
		f := newFollower(t, d)
		begin := f.at
		seed(t, d, u, 5)
		seed(t, d, other, 6)
		f.enter(2)
		f.at = begin // as after a crash before the new position was stored
		f.enter(3)
		count := func(want int64, of string) {
			t.Helper()
			if n := number(t, d, "SELECT count(*) FROM falcon_late WHERE "+of); n != want {
				t.Errorf("%d rows where %s, want %d", n, of, want)
			}
		}
		count(5, "rule = 'push'")
		count(11, "rule = 'unread 1h0m0s'")
		count(27, "TRUE")
		// Once another node has the lease, this one stores nothing more.
		must(t, d.ReleaseLate(ctx, "n"))
		state, leased, err := d.LeaseLate(ctx, "m", time.Hour)
		if err != nil || !leased || !strings.Contains(state, string(f.at.Log)) {
			t.Errorf("the other node: %q, %v, %v", state, leased, err)
		}
		seed(t, d, u, 1)
		if _, _, leased, err := d.Enter(ctx, "n", f.at, time.Second, lateRules, 10); leased || err != nil {
			t.Errorf("without the lease: %v, %v", leased, err)
		}
		count(27, "TRUE")
	})
}

// When Web Push and webhooks are turned on again after some months, they do not send the
// notifications of these months. A restart of all nodes must not lose any, even if nothing
// was appended for hours before it.
func TestNotificationsFromAPauseOfTheFollowerAreNotEntered(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		u := fresh()
		must(t, d.RegisterDevice(ctx, registrationOf(u, "phone", "e")))
		f := newFollower(t, d)
		for ago, want := range map[time.Duration]int64{23 * time.Hour: 1, 25 * time.Hour: 0} {
			exec(t, d, "DELETE FROM falcon_late")
			seed(t, d, u, 1)
			f.at.ReadAt -= ago.Milliseconds()
			f.enter(100)
			if n := number(t, d, "SELECT count(*) FROM falcon_late WHERE rule = 'push'"); n != want {
				t.Errorf("%v after the last read, %d notifications are entered, want %d", ago, n, want)
			}
		}
		exec(t, d, "DELETE FROM falcon_late")
		seed(t, d, u, 1)
		f.enter(100)
		if n := number(t, d, "SELECT count(*) FROM falcon_late WHERE rule = 'push'"); n != 1 {
			t.Error("a notification appended after the pause is not entered")
		}
	})
}

// The delay of a push counts from the commit of the transaction that notified the user,
// not from the INSERT, since the transaction may take a while.
func TestThePushDelayCountsFromTheCommit(t *testing.T) {
	d := openTest(t, Options{URL: testserver.Postgres(t)})
	ctx := testContext(t)
	must(t, d.RegisterDevice(ctx, registrationOf("1", "phone", "e")))
	f := newFollower(t, d)
	tx := idle(t, d, "SELECT falcon_notify('1', 't', 'm')")
	exec(t, d, "SELECT pg_sleep(0.2)")
	f.enter(10)
	before := f.at.ReadAt
	must(t, tx.Commit())
	f.enter(10)
	if since := number(t, d, "SELECT since FROM falcon_late WHERE rule = 'push'"); since < before+15_000 {
		t.Errorf("since is %d, which is %d ms less than 15 s after the commit", since, before+15_000-since)
	}
}

func TestAFinishedAttemptIsNotDueAgain(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		u := fresh()
		must(t, d.RegisterDevice(ctx, registrationOf(u, "phone", "e")))
		f := newFollower(t, d)
		seed(t, d, u, 1)
		f.enter(10)
		f.makeDue()
		push, err := d.DuePush(ctx, 1, nil)
		must(t, err)
		hooks, err := d.DueWebhooks(ctx, 10)
		must(t, err)
		if len(push) != 1 || len(hooks) != 2 {
			t.Fatalf("due: %d, %d", len(push), len(hooks))
		}
		waits := func(want int64) {
			t.Helper()
			p, w, err := d.Waiting(ctx, 100)
			if err != nil || p.Count+w.Count != want || want > 0 && p.Oldest+w.Oldest < time.Hour {
				t.Errorf("waiting: %+v, %+v, %v, want %d", p, w, err, want)
			}
		}
		waits(3)
		refs := []string{push[0].Ref, hooks[0].Ref, hooks[1].Ref}
		must(t, d.Begin(ctx, refs, nil, time.Minute))
		if got := f.due(u); len(got) > 0 {
			t.Errorf("due while the attempts are in progress: %q", got)
		}
		must(t, d.RecordLate(ctx, []late.Done{{Ref: refs[0], Result: late.Sent, Status: 201}, {Ref: refs[1], Result: late.Failed, Status: 500},
			{Ref: refs[2], Result: late.Limited, After: time.Hour}}))
		if got := f.due(u); len(got) != 1 {
			t.Errorf("due after one attempt failed: %q", got)
		}
		waits(2)
		if n := number(t, d, "SELECT tries FROM falcon_late WHERE ref = ?", refs[2]); n != 0 {
			t.Errorf("a rate-limited attempt counts as %d tries", n)
		}
		must(t, d.RecordLate(ctx, []late.Done{{Ref: refs[1], Result: late.Rejected}}))
		waits(1)

		must(t, d.Redeliver(ctx, refs[1]))
		must(t, second(d.Read(ctx, u, hooks[0].Notification.ID)))
		if got := f.due(u); len(got) != 1 || got[0][0] == '-' {
			t.Errorf("due after a redelivery was requested: %q", got)
		}
		for _, ref := range []string{"unknown", refs[0]} {
			if err := d.Redeliver(ctx, ref); err == nil {
				t.Errorf("Redeliver accepts %s", ref)
			}
		}
		must(t, d.Delete(ctx, u, hooks[0].Notification.ID))
		if err := d.Redeliver(ctx, refs[1]); err == nil {
			t.Error("Redeliver accepts a deleted notification")
		}
		exec(t, d, "UPDATE falcon_late SET done_at = 1 WHERE done_at > 0")
		must(t, second(d.PruneLate(ctx, time.Hour, time.Hour, 10)))
		if n := number(t, d, "SELECT count(*) FROM falcon_late WHERE done_at > 0"); n != 0 {
			t.Errorf("%d finished rows are left", n)
		}
	})
}
