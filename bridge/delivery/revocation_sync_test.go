package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/internal/fakeclock"
)

// book is a cluster with a table of revocations, which counts calls.
type book struct {
	singleNode
	mu          sync.Mutex
	rows        []bridge.Revocation // in the order of pages
	fail        int                 // fails after that many more calls; 0: never
	unavailable bool
	pages       []int // the number of rows that each call returned
	asked       int
}

func (b *book) Poll(context.Context, string, time.Time) ([]bridge.Order, time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unavailable {
		return nil, time.Time{}, bridge.ErrUnavailable
	}
	return nil, time.Now(), nil
}

func (b *book) Revocations(_ context.Context, after bridge.Revocation, limit int) ([]bridge.Revocation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail > 0 {
		if b.fail--; b.fail == 0 {
			return nil, bridge.ErrUnavailable
		}
	}
	i, found := slices.BinarySearchFunc(b.rows, after, inOrder)
	if found {
		i++
	}
	page := slices.Clone(b.rows[i:min(i+limit, len(b.rows))])
	b.pages = append(b.pages, len(page))
	return page, nil
}

func inOrder(a, b bridge.Revocation) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID), cmp.Compare(a.User, b.User))
}

func (b *book) Revoked(_ context.Context, c bridge.Claims) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked++; b.unavailable {
		return false, bridge.ErrUnavailable
	}
	return slices.ContainsFunc(b.rows, func(r bridge.Revocation) bool {
		return r.ID != "" && r.ID == c.ID || r.User != "" && r.User == c.User && c.IssuedAt.Before(r.Before)
	}), nil
}

// revoke stores rs with the time at.
func (b *book) revoke(at time.Time, rs ...bridge.Revocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rs {
		r.At = at
		b.rows = append(b.rows, r)
	}
	slices.SortFunc(b.rows, inOrder)
}

func (b *book) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *book) calls() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.pages)
}

// inBook runs f with a hub that reads ten revocations in one call and keeps at most held, and
// a book of n jtis that were revoked an hour ago: id0 to id<n-1>.
func inBook(t *testing.T, n, held int, f func(w *world, b *book)) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		for i := range n {
			b.revoke(time.Now().Add(-time.Hour), bridge.Revocation{ID: fmt.Sprint("id", i), Expires: time.Now().Add(time.Hour)})
		}
		f(newWorld(t, Options{Cluster: b, Step: 10, Kept: held}), b)
	})
}

func token(u bridge.UserID, id string) bridge.Claims {
	return bridge.Claims{User: u, ID: id, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(24 * time.Hour)}
}

// revoked reports whether h refuses c, and fails the test on an error.
func (w *world) revoked(c bridge.Claims) bool {
	w.t.Helper()
	revoked, err := w.hub.Revocations.Revoked(context.Background(), c)
	if err != nil {
		w.t.Error(err)
	}
	return revoked
}

// login connects the device phone of u, whose token has the jti id and was verified.
func (w *world) login(u bridge.UserID, id string) (*fakeLink, error) {
	l := &fakeLink{}
	_, _, err := w.hub.Connect(context.Background(), ConnectRequest{Device: bridge.Device{User: u, ClientID: "phone"}, Expiry: time.Hour, Claims: token(u, id)}, l)
	synctest.Wait()
	return l, err
}

func TestAStartReadsRevocationsInPages(t *testing.T) {
	inBook(t, 100, 0, func(w *world, b *book) {
		if pages := b.calls(); len(pages) < 11 || slices.Max(pages) > 10 {
			t.Errorf("pages of %v", pages)
		}
		for i := range 100 {
			if !w.revoked(token("7", fmt.Sprint("id", i))) {
				t.Errorf("id%d is accepted", i)
			}
		}
		if w.revoked(token("7", "another")) || b.asked != 0 {
			t.Errorf("another token is revoked, or the database was asked %d times", b.asked)
		}
	})
}

func TestAFailedScanOfRevocationsContinuesWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{fail: 6}
		for i := range 100 {
			b.revoke(time.Now().Add(-time.Hour), bridge.Revocation{ID: fmt.Sprintf("id%02d", i)})
		}
		h := NewHub(Options{Cluster: b, Step: 10, Epoch: func() string { return "e" }})
		if err := h.Poll(t.Context()); !errors.Is(err, bridge.ErrUnavailable) || h.Ready() == nil {
			t.Fatalf("the first poll: %v; ready with a part of the revocations: %v", err, h.Ready() == nil)
		}
		if err := h.Poll(t.Context()); err != nil || h.Ready() != nil {
			t.Fatal(err)
		}
		if pages := b.calls(); len(pages) != 5+5+1 || h.Revocations.kept.Load() != 100 {
			t.Errorf("pages of %v, %d kept", pages, h.Revocations.kept.Load())
		}
	})
}

// A revocation with an earlier time, whose transaction took long to commit, is found by the
// next scan.
func TestARevocationThatCommitsLateIsLearned(t *testing.T) {
	inBook(t, 0, 0, func(w *world, b *book) {
		l, _ := w.login("7", "stolen")
		fakeclock.Advance(10 * pollEvery)
		b.revoke(time.Now().Add(-10*time.Second), bridge.Revocation{ID: "stolen"})
		fakeclock.Advance(2 * pollEvery)
		if !slices.Equal(l.reasons(), []bridge.EndReason{bridge.EndExpired}) {
			t.Errorf("ended %v", l.reasons())
		}
	})
}

// There are more revocations than a node keeps.
func TestARevokedTokenIsRefusedBeyondTheMemoryBound(t *testing.T) {
	inBook(t, 100, 15, func(w *world, b *book) {
		if pages := b.calls(); len(pages) > 4 {
			t.Errorf("the start read pages of %v", pages)
		}
		if n := w.hub.Revocations.kept.Load(); n > 15 {
			t.Errorf("%d are held", n)
		}
		for i := range 100 {
			id := fmt.Sprint("id", i)
			if !w.revoked(token("7", id)) {
				t.Errorf("%s is accepted", id)
			}
			// Verified before the revocation was stored, connected after it was read.
			if l, err := w.login("7", id); err != nil || !slices.Equal(l.reasons(), []bridge.EndReason{bridge.EndExpired}) {
				t.Errorf("%s logs in: ended %v, %v", id, l.reasons(), err)
			}
		}
		good, err := w.login("7", "good")
		if err != nil || len(good.reasons()) > 0 || w.revoked(token("7", "good")) {
			t.Fatalf("a valid token: ended %v, %v", good.reasons(), err)
		}
		conns := w.hub.entry("7").conns
		if err := conns[0].Renew(context.Background(), token("7", "id99")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !slices.Equal(good.reasons(), []bridge.EndReason{bridge.EndExpired}) {
			t.Errorf("a revoked token was renewed: ended %v", good.reasons())
		}
	})
}

func TestRevocationsBeyondTheMemoryBoundEndLiveConnections(t *testing.T) {
	inBook(t, 100, 15, func(w *world, b *book) {
		stolen, _ := w.login("7", "stolen")
		old, _ := w.login("8", "b")
		good, _ := w.login("9", "c")
		var rs []bridge.Revocation
		for i := range 50 {
			rs = append(rs, bridge.Revocation{ID: fmt.Sprint("late", i)})
		}
		b.revoke(time.Now(), append(rs, bridge.Revocation{ID: "stolen"}, bridge.Revocation{User: "8", Before: time.Now().Add(time.Second)})...)
		fakeclock.Advance(2 * pollEvery)
		for name, tt := range map[string]struct {
			l    *fakeLink
			want []bridge.EndReason
		}{"by jti": {stolen, []bridge.EndReason{bridge.EndExpired}}, "by user": {old, []bridge.EndReason{bridge.EndExpired}}, "another one": {good, nil}} {
			if got := tt.l.reasons(); !slices.Equal(got, tt.want) {
				t.Errorf("%s: ended %v, want %v", name, got, tt.want)
			}
		}
	})
}

func TestLoginsFailWhileRevocationsCannotBeLookedUp(t *testing.T) {
	inBook(t, 100, 15, func(w *world, b *book) {
		l, _ := w.login("7", "good")
		conns := w.hub.entry("7").conns
		b.set(func() { b.unavailable = true })
		if _, err := w.hub.Revocations.Revoked(context.Background(), token("7", "id99")); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("verifies: %v", err)
		}
		if err := conns[0].Renew(context.Background(), token("7", "id99")); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("renews: %v", err)
		}
		if _, err := w.login("8", "id98"); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("logs in: %v", err)
		}
		if got := w.hub.Figures().Connections; got != 1 || len(l.reasons()) > 0 {
			t.Errorf("%d connections, ended %v", got, l.reasons())
		}
	})
}

// When there is room again, all revocations are kept, and the database is not asked any more.
func TestRevocationsOfExpiredTokensFreeTheirMemory(t *testing.T) {
	inBook(t, 100, 40, func(w *world, b *book) {
		b.revoke(time.Now().Add(-time.Minute), bridge.Revocation{ID: "for ever"}, bridge.Revocation{User: "8", Before: time.Now()})
		if w.revoked(token("7", "good")); b.asked != 1 {
			t.Fatalf("the database was asked %d times", b.asked)
		}
		fakeclock.Advance(time.Hour + bridge.RevocationGrace + time.Minute)
		b.set(func() { // as the pruner does it
			b.asked, b.rows = 0, slices.DeleteFunc(b.rows, func(r bridge.Revocation) bool { return !r.Expires.IsZero() })
		})
		w.hub.refillRevocations(context.Background())
		if n := w.hub.Revocations.kept.Load(); n != 2 {
			t.Errorf("%d are held", n)
		}
		if !w.revoked(token("7", "for ever")) || !w.revoked(bridge.Claims{User: "8"}) || w.revoked(token("7", "id5")) || b.asked != 0 {
			t.Errorf("a revoked token is accepted, an expired revocation still applies, or the database was asked %d times", b.asked)
		}
	})
}

func TestARevocationIsForgottenOnceItsTokenHasExpired(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		r    bridge.Revocation
		life time.Duration
		over time.Duration // after now, without RevocationGrace; 0: never
	}{
		"after its exp":                          {bridge.Revocation{ID: "a", Expires: now.Add(time.Hour), At: now}, 0, time.Hour},
		"after its exp, within the longest life": {bridge.Revocation{ID: "a", Expires: now.Add(time.Hour), At: now}, 8 * time.Hour, time.Hour},
		"without exp after the longest life":     {bridge.Revocation{ID: "a", At: now}, 8 * time.Hour, 8 * time.Hour},
		"of a user after the longest life":       {bridge.Revocation{User: "7", Before: now, At: now}, 8 * time.Hour, 8 * time.Hour},
		"never without exp and a longest life":   {bridge.Revocation{ID: "a", At: now}, 0, 0},
		"of a user never without a longest life": {bridge.Revocation{User: "7", Before: now, At: now}, 0, 0},
		"never with an exp beyond 32 bits":       {bridge.Revocation{ID: "a", Expires: time.Unix(1<<40, 0), At: now}, 0, 0},
	} {
		r := Revocations{life: tt.life}
		r.Add(tt.r)
		c := bridge.Claims{User: tt.r.User, ID: tt.r.ID}
		for _, after := range []time.Duration{0, tt.over + bridge.RevocationGrace - time.Second, tt.over + bridge.RevocationGrace + 2*time.Second, 20 * 365 * 24 * time.Hour} {
			r.drop(now.Add(after))
			if want := tt.over == 0 || after < tt.over+bridge.RevocationGrace; r.concerns(c) != want {
				t.Errorf("%s: after %s kept %v, want %v", name, after, !want, want)
			}
		}
	}
}
