package db

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
)

func TestRevocations(t *testing.T) {
	together(t, map[string]func(*testing.T, *DB){
		"revocations are listed in pages, in the order they were stored": testRevocationPages,
		"of several revocations of a user or token the latest counts":    testRevokeTwice,
		"a revocation is looked up by jti, user and iat":                 testRevoked,
	})
}

// revocationsOf reads all revocations after one in pages of three, and returns those whose
// token or user is in names.
func revocationsOf(t testing.TB, d *DB, after bridge.Revocation, names ...string) (out []bridge.Revocation) {
	t.Helper()
	for {
		page, err := d.Revocations(testContext(t), after, 3)
		must(t, err)
		for _, r := range page {
			if slices.Contains(names, r.ID+string(r.User)) {
				out = append(out, r)
			}
		}
		if len(page) < 3 {
			return out
		}
		after = page[2]
	}
}

func testRevocationPages(t *testing.T, d *DB) {
	u := string(fresh())
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint(u, i))
		must(t, d.Revoke(testContext(t), bridge.Revocation{ID: names[i]}))
	}
	exec(t, d, "UPDATE falcon_revocations SET at = 7 WHERE jti LIKE ?", u+"%") // all in the same millisecond
	must(t, d.Revoke(testContext(t), bridge.Revocation{User: bridge.UserID(u), Before: time.UnixMilli(5)}))
	all := revocationsOf(t, d, bridge.Revocation{}, append(names, u)...)
	if len(all) != 11 || all[10].User != bridge.UserID(u) || !all[10].Before.Equal(time.UnixMilli(5)) || all[10].At.IsZero() {
		t.Fatalf("read %+v", all)
	}
	for i, name := range names {
		if all[i].ID != name || all[i].User != "" || !all[i].Before.IsZero() || !all[i].Expires.IsZero() {
			t.Errorf("revocation %d is %+v", i, all[i])
		}
	}
	if rest := revocationsOf(t, d, all[6], names...); len(rest) != 3 || rest[0].ID != names[7] {
		t.Errorf("after the seventh: %+v", rest)
	}
}

func testRevokeTwice(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	first := time.UnixMilli(1764000000000).UTC()
	later := first.Add(time.Hour)
	for _, r := range []bridge.Revocation{
		{User: u, Before: first}, {User: u, Before: later}, {User: u, Before: first},
		{ID: string(u) + "a", Expires: first}, {ID: string(u) + "a", Expires: later}, {ID: string(u) + "a", Expires: first},
		{ID: string(u) + "b", Expires: first}, {ID: string(u) + "b"}, {ID: string(u) + "b", Expires: later},
	} {
		must(t, d.Revoke(ctx, r))
	}
	got := revocationsOf(t, d, bridge.Revocation{}, string(u), string(u)+"a", string(u)+"b")
	slices.SortFunc(got, func(a, b bridge.Revocation) int { return strings.Compare(a.ID, b.ID) })
	if len(got) != 3 || !got[0].Before.Equal(later) || !got[1].Expires.Equal(later) || !got[2].Expires.IsZero() {
		t.Errorf("stored %+v", got)
	}
}

func testRevoked(t *testing.T, d *DB) {
	u, ctx := fresh(), testContext(t)
	before := time.UnixMilli(1764000000000)
	must(t, d.Revoke(ctx, bridge.Revocation{User: u, Before: before}))
	must(t, d.Revoke(ctx, bridge.Revocation{ID: string(u) + "-id"}))
	for name, tt := range map[string]struct {
		claims bridge.Claims
		want   bool
	}{
		"the jti":                 {bridge.Claims{User: "nobody", ID: string(u) + "-id", IssuedAt: before}, true},
		"another jti":             {bridge.Claims{User: "nobody", ID: "other"}, false},
		"a jti named as the user": {bridge.Claims{User: "nobody", ID: string(u)}, false},
		"a user named as the jti": {bridge.Claims{User: u + "-id", ID: ""}, false},
		"issued before":           {bridge.Claims{User: u, ID: "other", IssuedAt: before.Add(-time.Millisecond)}, true},
		"issued at that time":     {bridge.Claims{User: u, IssuedAt: before}, false},
		"without iat":             {bridge.Claims{User: u}, true},
	} {
		if got, err := d.Revoked(ctx, tt.claims); err != nil || got != tt.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// A hundred revocations can be removed, ten per step. Those that must stay are within the
// grace period, or of a valid token, or recent and without an exp.
func TestRevocationsOfExpiredTokensAreRemovedInSteps(t *testing.T) {
	each(t, func(t *testing.T, d *DB) {
		ctx := testContext(t)
		now := time.Now()
		for i := range 100 {
			r := bridge.Revocation{ID: fmt.Sprint("over", i), Expires: now.Add(-bridge.RevocationGrace - time.Minute)}
			if i >= 50 {
				r = bridge.Revocation{User: bridge.UserID(fmt.Sprint("old", i)), Before: now}
			}
			must(t, d.Revoke(ctx, r))
		}
		exec(t, d, "UPDATE falcon_revocations SET at = at - ? WHERE user_id <> ''", (time.Hour + bridge.RevocationGrace + time.Minute).Milliseconds())
		for _, r := range []bridge.Revocation{
			{ID: "within the grace", Expires: now.Add(-time.Minute)}, {ID: "valid", Expires: now.Add(time.Minute)}, {ID: "young"}, {User: "young", Before: now},
		} {
			must(t, d.Revoke(ctx, r))
		}
		drain := func(life time.Duration) (total int) {
			t.Helper()
			for {
				n, err := d.ExpireRevocations(ctx, life, 10)
				must(t, err)
				if total += n; n == 0 {
					return total
				}
				if n > 10 {
					t.Errorf("one step removed %d, want at most 10", n)
				}
			}
		}
		if n := drain(0); n != 50 {
			t.Errorf("%d are removed by their exp, want 50", n)
		}
		if n := drain(time.Hour); n != 50 {
			t.Errorf("%d are removed by their age, want 50", n)
		}
		if n := number(t, d, "SELECT count(*) FROM falcon_revocations"); n != 4 {
			t.Errorf("%d are left, want 4", n)
		}
	})
}
