package db

import (
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// When Deliveries lists a device as having acknowledged a notification, it must be true.
// A device that skipped the notification is not listed at all.
func TestDeliveriesListOnlyTrueAcknowledgements(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		u, ctx := fresh(), testContext(t)
		ns := seed(t, d, u, 10)
		subscribed := func(client string, since, acked, leap bridge.Seq) bridge.Session {
			t.Helper()
			s := open(t, d, dev(u, client))
			if _, stale, err := d.Subscribe(ctx, dev(u, client), s.Generation, bridge.Subscription{QoS: 1}, &since); err != nil || stale {
				t.Fatalf("subscribe: %v, %v", stale, err)
			}
			advanceTo(t, d, bridge.Advance{Device: dev(u, client), Generation: s.Generation, Acked: acked, Sent: acked, From: leap})
			return s
		}
		subscribed("all", 0, 10, 0)
		subscribed("half", 0, 5, 0)
		subscribed("none", 0, 0, 0)
		subscribed("joined at 7", 7, 9, 0)
		subscribed("leapt to 8", 0, 8, 8)
		s := subscribed("left at 4", 0, 4, 0)
		must(t, d.Unsubscribe(ctx, dev(u, "left at 4"), s.Generation))
		open(t, d, dev(u, "never subscribed"))
		s = subscribed("expired", 0, 10, 0)
		advanceTo(t, d, bridge.Advance{Device: dev(u, "expired"), Generation: s.Generation, Acked: 10, Closed: true, Expiry: time.Hour})
		exec(t, d, "UPDATE falcon_sessions SET expires_at = 1 WHERE user_id = ? AND client_id = 'expired'", u)
		for seq, want := range map[int]string{
			1:  "all half left-at-4 -none",
			5:  "all half -none",
			6:  "all -half -none",
			8:  "all -half joined-at-7 -none",
			10: "all -half -joined-at-7 -leapt-to-8 -none",
		} {
			ds, err := d.Deliveries(ctx, ns[seq-1])
			var got []string
			for _, v := range ds {
				name := strings.ReplaceAll(v.ClientID, " ", "-")
				if !v.Acknowledged {
					name = "-" + name
				}
				got = append(got, name)
				if v.Acknowledged == v.AcknowledgedAt.IsZero() {
					t.Errorf("seq %d: %+v", seq, v)
				}
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("seq %d: %v, %v\nwant %s", seq, got, err, want)
			}
		}
		must(t, set(ctx, d, u, muted))
		skipped := seed(t, d, u, 1)
		must(t, set(ctx, d, u, unmuted))
		seed(t, d, u, 1)
		subscribed("all", 0, 12, 0)
		if got, err := d.Deliveries(ctx, skipped[0]); err != nil || got == nil || len(got) != 0 {
			t.Errorf("appended while muted: %v, %v", got, err)
		}
	})
}
