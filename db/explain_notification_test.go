package db

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// fates formats what e says about each device, in one line.
func fates(e bridge.Explanation) (out string) {
	for _, d := range e.Devices {
		out += fmt.Sprintf("[%s: %s %s %t]", d.ClientID, d.State, d.Why, !d.At.IsZero())
	}
	return out
}

// accountOf returns what Explain says about a notification.
func accountOf(t *testing.T, d *DB, id int64) bridge.Explanation {
	t.Helper()
	e, err := d.Explain(testContext(t), id)
	must(t, err)
	return e
}

func TestExplainReturnsTheStateOfLiveAndRemovedNotifications(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		put := func(dr bridge.Draft) bridge.Notification {
			t.Helper()
			dr.User, dr.Title, dr.Message, dr.By = u, "Secret", "secret", "backend"
			res, err := d.Append(ctx, bridge.Command{Drafts: []bridge.Draft{dr}})
			must(t, err)
			return res.Appended[0]
		}
		plain := bridge.Draft{Kind: bridge.KindMessage}
		ns := map[bridge.Fate]bridge.Notification{bridge.FateLive: put(plain), bridge.FateRead: put(plain), bridge.FateDeleted: put(plain)}
		keyed := plain
		keyed.Replaces = "k"
		ns[bridge.FateSuperseded] = put(keyed)
		put(keyed)
		brief := plain
		brief.ExpiresIn = time.Hour
		ns[bridge.FateExpired] = put(brief)
		must(t, second(d.Read(ctx, u, ns[bridge.FateRead].ID)))
		must(t, d.Delete(ctx, u, ns[bridge.FateDeleted].ID))
		exec(t, d, "UPDATE falcon_notifications SET expires_at = 1 WHERE id = ?", ns[bridge.FateExpired].ID)
		check := func() {
			t.Helper()
			for want, n := range ns {
				e := accountOf(t, d, n.ID)
				if e.State != want || e.ID != n.ID || e.User != u || e.Seq != n.Seq || e.Kind != n.Kind || e.By != "backend" || !e.CommittedAt.Equal(n.CreatedAt) {
					t.Errorf("%s: %+v", want, e)
				}
			}
		}
		check()
		_, _, err := d.ExpireNotifications(ctx, 100)
		must(t, err)
		check()
		must(t, set(ctx, d, u, muted))
		if e := accountOf(t, d, ns[bridge.FateLive].ID); e.State != bridge.FateMuted {
			t.Errorf("while muted: %s", e.State)
		}
		if _, err := d.Explain(ctx, 1<<50); !errors.Is(err, bridge.ErrNotFound) {
			t.Errorf("an unknown id: %v", err)
		}
	})
}

// When Explain says that a device has a notification, it must be true. A device is not
// listed if the log does not show whether it got a notification that is gone by now.
func TestExplainListsOnlyWhatTheLogProves(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		ns := seed(t, d, u, 10)
		subscribed := func(client string, since, acked bridge.Seq) bridge.Session {
			t.Helper()
			s := open(t, d, dev(u, client))
			_, _, err := d.Subscribe(ctx, dev(u, client), s.Generation, bridge.Subscription{QoS: 1}, &since)
			must(t, err)
			advanceTo(t, d, bridge.Advance{Device: dev(u, client), Generation: s.Generation, Acked: acked, Sent: acked})
			return s
		}
		end := func(client string, s bridge.Session, acked, sent bridge.Seq) {
			t.Helper()
			advanceTo(t, d, bridge.Advance{Device: dev(u, client), Generation: s.Generation, Acked: acked, Sent: sent, Closed: true, Expiry: time.Hour})
		}
		subscribed("a open", 0, 10)
		end("b left", subscribed("b left", 0, 10), 10, 10)
		end("c sent", subscribed("c sent", 0, 2), 2, 6)
		end("d behind", subscribed("d behind", 0, 2), 2, 2)
		subscribed("e later", 7, 8)
		end("f expired", subscribed("f expired", 0, 2), 2, 2)
		exec(t, d, "UPDATE falcon_sessions SET expires_at = used_at WHERE user_id = ? AND client_id = 'f expired'", u)
		s := subscribed("g known", 0, 10)
		must(t, d.Acknowledged(ctx, []bridge.Ack{{Device: dev(u, "g known"), Generation: s.Generation, From: 0, To: 10}}))
		open(t, d, dev(u, "h never subscribed"))

		want := "[a open: acknowledged  true][b left: acknowledged  true][c sent: sent  true][d behind: behind  false]" +
			"[e later: skipped subscribed later false][f expired: expired session behind true][g known: acknowledged  true]"
		if got := fates(accountOf(t, d, ns[4].ID)); got != want {
			t.Errorf("live:\n%s\nwant\n%s", got, want)
		}
		ds, err := d.Deliveries(ctx, ns[4])
		must(t, err)
		for _, v := range ds {
			if v.AcknowledgedAt.IsZero() == v.Acknowledged {
				t.Errorf("deliveries: %+v", v)
			}
		}

		must(t, d.Delete(ctx, u, ns[4].ID))
		exec(t, d, "UPDATE falcon_tombstones SET at = at + 1000 WHERE id = ?", ns[4].ID) // times have a resolution of 1 ms
		s = open(t, d, dev(u, "d behind"))
		advanceTo(t, d, bridge.Advance{Device: dev(u, "d behind"), Generation: s.Generation, Acked: 10, Sent: 10,
			Skipped: []bridge.Skip{{Above: 4, UpTo: 5, Why: bridge.SkipUnread}}})
		want = "[a open: acknowledged  true][b left: acknowledged  true][c sent: sent  true][d behind: skipped deleted true]" +
			"[e later: skipped subscribed later false][f expired: expired session behind true][g known: acknowledged  true]"
		if got := fates(accountOf(t, d, ns[4].ID)); got != want {
			t.Errorf("gone:\n%s\nwant\n%s", got, want)
		}
		end("i absent", subscribed("i absent", 2, 2), 2, 2)
		if got := fates(accountOf(t, d, ns[4].ID)); got != want+"[i absent: skipped deleted true]" {
			t.Errorf("gone while absent:\n%s", got)
		}
	})
}

// Attack: after an erasure, ask by ID what became of the user's notifications.
func TestExplainKnowsNothingOfAnErasedUser(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		ns := seed(t, d, u, 3)
		must(t, d.Delete(ctx, u, ns[0].ID))
		exec(t, d, "UPDATE falcon_inboxes SET erased_seq = 3 WHERE user_id = ?", u) // an erasure that has begun
		for _, n := range ns {
			if e, err := d.Explain(ctx, n.ID); !errors.Is(err, bridge.ErrNotFound) {
				t.Errorf("during the erasure: %+v, %v", e, err)
			}
		}
		exec(t, d, "UPDATE falcon_inboxes SET erased_seq = 0 WHERE user_id = ?", u)
		must(t, second(d.Erase(ctx, u)))
		for _, n := range ns {
			if e, err := d.Explain(ctx, n.ID); !errors.Is(err, bridge.ErrNotFound) {
				t.Errorf("after the erasure: %+v, %v", e, err)
			}
		}
	})
}
