package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

// Tokens of an issuer whose clock is ahead have an iat in the future, and a
// revocation as of now would leave them valid.
func TestARevocationMayReach30SecondsAhead(t *testing.T) {
	each(t, func(t *testing.T, e *edge) {
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

		view, err := e.db.Poll(t.Context(), "n1", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		var known bridge.Revocations
		known.Add(view.Revocations...)
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
			if got := known.Revoked(bridge.Claims{User: tt.user, IssuedAt: tt.iat}); got != tt.revoke {
				t.Errorf("%s: revoked %v", name, got)
			}
		}
	})
}
