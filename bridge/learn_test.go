package bridge

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
)

// book is a cluster with a table of revocations.
type book struct {
	lone
	mu    sync.Mutex
	rows  []Revocation // ordered as pages are
	fail  int          // the next call but that many fails; 0: none
	away  bool
	pages []int // how many rows each call returned
	asked int
}

func (b *book) Poll(context.Context, string, time.Time) (View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return View{}, ErrUnavailable
	}
	return View{At: time.Now()}, nil
}

func (b *book) Revocations(_ context.Context, after Revocation, limit int) ([]Revocation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail > 0 {
		if b.fail--; b.fail == 0 {
			return nil, ErrUnavailable
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

func inOrder(a, b Revocation) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID), cmp.Compare(a.User, b.User))
}

func (b *book) Revoked(_ context.Context, c Claims) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked++; b.away {
		return false, ErrUnavailable
	}
	return slices.ContainsFunc(b.rows, func(r Revocation) bool {
		return r.ID != "" && r.ID == c.ID || r.User != "" && r.User == c.User && c.IssuedAt.Before(r.Before)
	}), nil
}

// revoke stores rs as of at.
func (b *book) revoke(at time.Time, rs ...Revocation) {
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

// inBook runs f with a hub that reads ten revocations a call and holds at most held,
// and a book of n jtis that were revoked an hour ago: id0 to id<n-1>.
func inBook(t *testing.T, n, held int, f func(w *world, b *book)) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		for i := range n {
			b.revoke(time.Now().Add(-time.Hour), Revocation{ID: fmt.Sprint("id", i), Expires: time.Now().Add(time.Hour)})
		}
		f(newWorld(t, Options{Cluster: b, Step: 10, Held: held}), b)
	})
}

func token(u UserID, id string) Claims {
	return Claims{User: u, ID: id, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(24 * time.Hour)}
}

// revoked reports whether h refuses c, and fails the test where it cannot tell.
func (w *world) revoked(c Claims) bool {
	w.t.Helper()
	revoked, err := w.hub.Revocations.Revoked(context.Background(), c)
	if err != nil {
		w.t.Error(err)
	}
	return revoked
}

// login connects as phone of u with the jti id, as a device whose token was verified.
func (w *world) login(u UserID, id string) (*fakeLink, error) {
	l := &fakeLink{}
	_, _, err := w.hub.Connect(context.Background(), ConnectRequest{Device: Device{u, "phone"}, Expiry: time.Hour, Claims: token(u, id)}, l)
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
				t.Errorf("id%d is let in", i)
			}
		}
		if w.revoked(token("7", "another")) || b.asked != 0 {
			t.Errorf("another one is revoked, or the database was asked %d times", b.asked)
		}
	})
}

func TestARoundThatFailsContinuesWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{fail: 6}
		for i := range 100 {
			b.revoke(time.Now().Add(-time.Hour), Revocation{ID: fmt.Sprintf("id%02d", i)})
		}
		h := NewHub(Options{Cluster: b, Step: 10, Epoch: func() string { return "e" }})
		if err := h.Poll(t.Context()); !errors.Is(err, ErrUnavailable) || h.Ready() == nil {
			t.Fatalf("the first poll: %v; ready on a part of the revocations: %v", err, h.Ready() == nil)
		}
		if err := h.Poll(t.Context()); err != nil || h.Ready() != nil {
			t.Fatal(err)
		}
		if pages := b.calls(); len(pages) != 5+5+1 || h.Revocations.held.Load() != 100 {
			t.Errorf("pages of %v, %d held", pages, h.Revocations.held.Load())
		}
	})
}

// What is stored with a time of before, by a transaction that took long to commit, is
// found by the next round.
func TestARevocationThatCommitsLateIsLearned(t *testing.T) {
	inBook(t, 0, 0, func(w *world, b *book) {
		l, _ := w.login("7", "stolen")
		time.Sleep(10 * pollEvery)
		b.revoke(time.Now().Add(-10*time.Second), Revocation{ID: "stolen"})
		time.Sleep(2 * pollEvery)
		synctest.Wait()
		if !slices.Equal(l.reasons(), []EndReason{EndExpired}) {
			t.Errorf("ended %v", l.reasons())
		}
	})
}

// More were revoked than a node holds.
func TestARevokedTokenIsNotLetInBecauseTooManyAreRevoked(t *testing.T) {
	inBook(t, 100, 15, func(w *world, b *book) {
		if pages := b.calls(); len(pages) > 4 {
			t.Errorf("a start read pages of %v", pages)
		}
		if n := w.hub.Revocations.held.Load(); n > 15 {
			t.Errorf("%d are held", n)
		}
		for i := range 100 {
			id := fmt.Sprint("id", i)
			if !w.revoked(token("7", id)) {
				t.Errorf("%s verifies", id)
			}
			// Verified before the revocation was stored, and connected after it was learned.
			if l, err := w.login("7", id); err != nil || !slices.Equal(l.reasons(), []EndReason{EndExpired}) {
				t.Errorf("%s logs in: ended %v, %v", id, l.reasons(), err)
			}
		}
		good, err := w.login("7", "good")
		if err != nil || len(good.reasons()) > 0 || w.revoked(token("7", "good")) {
			t.Fatalf("a good one: ended %v, %v", good.reasons(), err)
		}
		conns, _, _ := w.hub.entry("7")
		if err := conns[0].Renew(context.Background(), token("7", "id99")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !slices.Equal(good.reasons(), []EndReason{EndExpired}) {
			t.Errorf("a revoked one renews: ended %v", good.reasons())
		}
	})
}

func TestLiveConnectionsEndHoweverManyTokensAreRevoked(t *testing.T) {
	inBook(t, 100, 15, func(w *world, b *book) {
		stolen, _ := w.login("7", "stolen")
		old, _ := w.login("8", "b")
		good, _ := w.login("9", "c")
		var rs []Revocation
		for i := range 50 {
			rs = append(rs, Revocation{ID: fmt.Sprint("late", i)})
		}
		b.revoke(time.Now(), append(rs, Revocation{ID: "stolen"}, Revocation{User: "8", Before: time.Now().Add(time.Second)})...)
		time.Sleep(2 * pollEvery)
		synctest.Wait()
		for name, tt := range map[string]struct {
			l    *fakeLink
			want []EndReason
		}{"by jti": {stolen, []EndReason{EndExpired}}, "by user": {old, []EndReason{EndExpired}}, "another one": {good, nil}} {
			if got := tt.l.reasons(); !slices.Equal(got, tt.want) {
				t.Errorf("%s: ended %v, want %v", name, got, tt.want)
			}
		}
	})
}

func TestNobodyLogsInWhileRevocationsCannotBeLookedUp(t *testing.T) {
	inBook(t, 100, 15, func(w *world, b *book) {
		l, _ := w.login("7", "good")
		conns, _, _ := w.hub.entry("7")
		b.set(func() { b.away = true })
		if _, err := w.hub.Revocations.Revoked(context.Background(), token("7", "id99")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("verifies: %v", err)
		}
		if err := conns[0].Renew(context.Background(), token("7", "id99")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("renews: %v", err)
		}
		if _, err := w.login("8", "id98"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("logs in: %v", err)
		}
		if got := w.hub.Figures().Connections; got != 1 || len(l.reasons()) > 0 {
			t.Errorf("%d connections, ended %v", got, l.reasons())
		}
	})
}

// Once there is room, all are held again, and the database is not asked any more.
func TestMemoryIsGivenBackWhenTokensAreOver(t *testing.T) {
	inBook(t, 100, 40, func(w *world, b *book) {
		b.revoke(time.Now().Add(-time.Minute), Revocation{ID: "for ever"}, Revocation{User: "8", Before: time.Now()})
		if w.revoked(token("7", "good")); b.asked != 1 {
			t.Fatalf("the database was asked %d times", b.asked)
		}
		time.Sleep(time.Hour + RevocationGrace + time.Minute)
		b.set(func() { // as the pruner does
			b.asked, b.rows = 0, slices.DeleteFunc(b.rows, func(r Revocation) bool { return !r.Expires.IsZero() })
		})
		w.hub.holdAll(context.Background())
		if n := w.hub.Revocations.held.Load(); n != 2 {
			t.Errorf("%d are held", n)
		}
		if !w.revoked(token("7", "for ever")) || !w.revoked(Claims{User: "8"}) || w.revoked(token("7", "id5")) || b.asked != 0 {
			t.Errorf("what stays is let in, what is over is not, or the database was asked %d times", b.asked)
		}
	})
}

func TestARevocationIsForgottenWhenItsTokenIsOver(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		r    Revocation
		life time.Duration
		over time.Duration // after now, without the grace; 0: never
	}{
		"after its exp":                         {Revocation{ID: "a", Expires: now.Add(time.Hour), At: now}, 0, time.Hour},
		"after its exp, within the longest":     {Revocation{ID: "a", Expires: now.Add(time.Hour), At: now}, 8 * time.Hour, time.Hour},
		"without exp after the longest life":    {Revocation{ID: "a", At: now}, 8 * time.Hour, 8 * time.Hour},
		"of a user after the longest life":      {Revocation{User: "7", Before: now, At: now}, 8 * time.Hour, 8 * time.Hour},
		"never without exp and longest life":    {Revocation{ID: "a", At: now}, 0, 0},
		"of a user never without longest life":  {Revocation{User: "7", Before: now, At: now}, 0, 0},
		"never where exp is beyond what counts": {Revocation{ID: "a", Expires: time.Unix(1<<40, 0), At: now}, 0, 0},
	} {
		r := Revocations{life: tt.life}
		r.Add(tt.r)
		c := Claims{User: tt.r.User, ID: tt.r.ID}
		for _, after := range []time.Duration{0, tt.over + RevocationGrace - time.Second, tt.over + RevocationGrace + 2*time.Second, 20 * 365 * 24 * time.Hour} {
			r.forget(now.Add(after))
			if want := tt.over == 0 || after < tt.over+RevocationGrace; r.holds(c) != want {
				t.Errorf("%s: after %s held %v, want %v", name, after, !want, want)
			}
		}
	}
}
