package db

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func registrationOf(u bridge.UserID, client, endpoint string) bridge.Registration {
	return bridge.Registration{Device: bridge.Device{User: u, ClientID: client}, Endpoint: "https://push.example/" + endpoint, P256DH: "p", Auth: "a",
		TokenID: "jti-" + client, IssuedAt: time.UnixMilli(1_000_000).UTC()}
}

func TestAnEndpointBelongsToOneRegistration(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		first, second := registrationOf("1", "browser", "e"), registrationOf("2", "browser", "e")
		must(t, d.RegisterDevice(ctx, first))
		must(t, d.RegisterDevice(ctx, first))
		if got, err := d.Registration(ctx, first.Device); err != nil || got != first {
			t.Errorf("%+v, %v", got, err)
		}
		must(t, d.RegisterDevice(ctx, second))
		if _, err := d.Registration(ctx, first.Device); !errors.Is(err, bridge.ErrNotFound) {
			t.Errorf("the former user of the browser is still registered: %v", err)
		}
		moved := registrationOf("2", "browser", "other")
		must(t, d.RegisterDevice(ctx, moved))
		must(t, d.Unregister(ctx, second)) // too late: the registration has another endpoint by now
		if got, err := d.Registration(ctx, second.Device); err != nil || got != moved {
			t.Errorf("%+v, %v", got, err)
		}
		must(t, d.Unregister(ctx, moved))
		if _, err := d.Registration(ctx, second.Device); !errors.Is(err, bridge.ErrNotFound) {
			t.Errorf("after it was unregistered: %v", err)
		}
	})
}

// Several users register the same endpoint at once, as when a browser is shared. The last
// one wins, and none fails by a deadlock.
func TestConcurrentRegistrationsOfOneEndpointLeaveOne(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := d.RegisterDevice(ctx, registrationOf(bridge.UserID(fmt.Sprint(i%4)), "c", "shared")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := number(t, d, "SELECT count(*) FROM falcon_registrations"); n != 1 {
			t.Errorf("%d registrations of one endpoint", n)
		}
	})
}

func TestAUserHasAtMost32Registrations(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		for i := range bridge.MaxRegistrations {
			must(t, d.RegisterDevice(ctx, registrationOf("1", fmt.Sprint(i), fmt.Sprint(i))))
		}
		if err := d.RegisterDevice(ctx, registrationOf("1", "more", "more")); !errors.Is(err, bridge.ErrConflict) {
			t.Errorf("the 33rd: %v", err)
		}
		must(t, d.RegisterDevice(ctx, registrationOf("1", "3", "changed")))
		must(t, d.RegisterDevice(ctx, registrationOf("2", "more", "more")))
	})
}

func TestRevokingATokenRemovesItsRegistrations(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		a, b, none, other := registrationOf("1", "a", "a"), registrationOf("1", "b", "b"), registrationOf("1", "none", "none"), registrationOf("2", "a", "other")
		other.TokenID = "of another token"
		none.TokenID, none.IssuedAt = "", time.Time{}
		b.IssuedAt = a.IssuedAt.Add(time.Hour)
		for _, r := range []bridge.Registration{a, b, none, other} {
			must(t, d.RegisterDevice(ctx, r))
		}
		left := func(what string, want ...bridge.Registration) {
			t.Helper()
			if n := number(t, d, "SELECT count(*) FROM falcon_registrations"); n != int64(len(want)) {
				t.Errorf("%s: %d registrations are left, want %d", what, n, len(want))
			}
			for _, r := range want {
				if _, err := d.Registration(ctx, r.Device); err != nil {
					t.Errorf("%s: %s: %v", what, r.Device.ClientID, err)
				}
			}
		}
		must(t, d.Revoke(ctx, bridge.Revocation{ID: a.TokenID}))
		left("by jti", b, none, other)
		must(t, d.Revoke(ctx, bridge.Revocation{User: "1", Before: a.IssuedAt.Add(time.Minute)}))
		left("by user and time", b, other)
		for what, r := range map[string]bridge.Registration{"a revoked jti": a, "no iat": none} {
			if err := d.RegisterDevice(ctx, r); !errors.Is(err, bridge.ErrForbidden) {
				t.Errorf("%s: error %v, want ErrForbidden", what, err)
			}
		}
		if _, err := d.Erase(ctx, "1"); err != nil {
			t.Fatal(err)
		}
		left("erased", other)
	})
}

func TestARegistrationEnds30DaysAfterItsLastUse(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		must(t, d.Beat(ctx, "n", bridge.Figures{}))
		for i, name := range []string{"unused", "connected", "in a session", "new"} {
			must(t, d.RegisterDevice(ctx, registrationOf("1", name, fmt.Sprint(i))))
		}
		s, err := d.Open(ctx, bridge.OpenSession{Device: bridge.Device{User: "1", ClientID: "in a session"}, Node: "n", Expiry: time.Hour})
		must(t, err)
		must(t, d.Register(ctx, "n", []bridge.Connection{{Device: bridge.Device{User: "1", ClientID: "connected"}, Generation: s.Generation, Node: "n", Protocol: 5}}, nil))
		exec(t, d, "UPDATE falcon_registrations SET used_at = used_at - 2678400000 WHERE client_id <> 'new'")
		_, err = d.PruneLate(ctx, time.Hour, time.Hour, 100)
		must(t, err)
		got, err := d.Devices(ctx, "1")
		must(t, err)
		want := []bridge.DeviceInfo{{ClientID: "connected", Push: true, Connected: true}, {ClientID: "in a session", Push: true, Session: true}, {ClientID: "new", Push: true}}
		for i := range got {
			if got[i].LastSeen.IsZero() || time.Since(got[i].LastSeen) > time.Hour {
				t.Errorf("%s was seen at %v", got[i].ClientID, got[i].LastSeen)
			}
			got[i].LastSeen = time.Time{}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("devices %+v, want %+v", got, want)
		}
	})
}

func TestRemovingADeviceRemovesItsSession(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		dev := bridge.Device{User: "1", ClientID: "phone"}
		if err := d.RemoveDevice(ctx, dev); !errors.Is(err, bridge.ErrNotFound) {
			t.Errorf("an unknown device: %v", err)
		}
		must(t, d.RegisterDevice(ctx, registrationOf("1", "phone", "e")))
		must(t, d.RegisterDevice(ctx, registrationOf("1", "tablet", "f")))
		_, err := d.Open(ctx, bridge.OpenSession{Device: dev, Node: "n", Expiry: time.Hour})
		must(t, err)
		must(t, d.RemoveDevice(ctx, dev))
		got, err := d.Devices(ctx, "1")
		must(t, err)
		if len(got) != 1 || got[0].ClientID != "tablet" {
			t.Errorf("devices %+v", got)
		}
		orders, _, err := d.Poll(ctx, "n", time.Time{})
		must(t, err)
		if len(orders) != 1 || orders[0].ClientID != "phone" || orders[0].User != "1" {
			t.Errorf("orders %+v", orders)
		}
	})
}
