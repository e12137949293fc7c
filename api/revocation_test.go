package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
)

// Tokens of an issuer whose clock is ahead have an iat in the future, and a
// revocation as of now would leave them valid.
func TestARevocationMayBe30SecondsInTheFuture(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin := tokenFor(t, "root", "admin")
		before := time.Now().Add(29 * time.Second).UTC().Truncate(time.Millisecond)
		var v revocationFields
		e.call("POST /admin/revocations", admin, `{"user":"ahead","before":"`+before.Format(time.RFC3339Nano)+`"}`).want(http.StatusCreated).into(&v)
		if !v.Before.Equal(before) {
			t.Errorf("the response has %v, want %v", v.Before, before)
		}
		e.call("POST /admin/revocations", admin, `{"user":"now"}`).want(http.StatusCreated)
		e.call("POST /admin/revocations", admin, `{"user":"late","before":"`+before.Add(time.Minute).Format(time.RFC3339Nano)+`"}`).
			problem(http.StatusUnprocessableEntity)

		stored, err := e.db.Revocations(t.Context(), bridge.Revocation{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var known delivery.Revocations
		known.Add(stored...)
		for name, tt := range map[string]struct {
			user   bridge.UserID
			iat    time.Time
			revoke bool
		}{
			"an iat 28 s ahead, revoked up to 29 s": {"ahead", before.Add(-time.Second), true},
			"an iat 30 s ahead, revoked up to 29 s": {"ahead", before.Add(time.Second), false},
			"an iat 28 s ahead, revoked as of now":  {"now", before.Add(-time.Second), false},
			"an iat ahead, a refused revocation":    {"late", before, false},
		} {
			if got, err := known.Revoked(t.Context(), bridge.Claims{User: tt.user, IssuedAt: tt.iat}); err != nil || got != tt.revoke {
				t.Errorf("%s: revoked %v, %v", name, got, err)
			}
		}
	})
}

func TestARevocationExpiresWithItsToken(t *testing.T) {
	each(t, func(t *testing.T, e *harness) {
		admin := tokenFor(t, "root", "admin")
		for id, exp := range map[string]string{"seconds": "4000000000", "half": "4000000000.5", "text": `"2096-10-02T09:06:40+02:00"`} {
			body := `{"jti":"` + id + `","exp":` + exp + `}`
			e.call("POST /admin/revocations", admin, body).want(http.StatusCreated).equal(body)
		}
		e.call("POST /admin/revocations", admin, `{"jti":"none"}`).want(http.StatusCreated).equal(`{"jti":"none"}`)
		stored, err := e.db.Revocations(t.Context(), bridge.Revocation{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]time.Time{}
		for _, r := range stored {
			got[r.ID] = r.Expires
		}
		for id, want := range map[string]time.Time{"seconds": time.UnixMilli(4e12), "half": time.UnixMilli(4e12 + 500), "text": time.UnixMilli(4e12), "none": {}} {
			if !got[id].Equal(want) {
				t.Errorf("%s: stored %v, want %v", id, got[id], want)
			}
		}
	})
}
